"""First of four: reads a feed and passes on what it has not seen before."""

from openclaw import Agent, Schedule


class Collect(Agent):
    """Emits `items_collected` with new entries of `config.feed`."""

    schedule = Schedule.every(minutes=10)

    async def run(self) -> dict[str, int]:
        response = await self.http.get(self.config.feed, timeout=20)
        if not response.ok:
            raise RuntimeError(f"the feed answered {response.status_code}")
        items = self.parse_rss(response)
        seen = await self.state.get("seen", set())
        fresh = [item for item in items if item["id"] not in seen]
        if fresh:
            # One version for both: items are passed on exactly if they are remembered as seen.
            async with self.state.transaction() as tx:
                tx.set("seen", {item["id"] for item in items} | seen)
                tx.emit("items_collected", {"items": fresh})
        self.metrics.gauge("feed_items", len(items))
        return {"new": len(fresh)}
