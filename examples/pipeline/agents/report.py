"""Third of four: keeps a day's list and passes the worst on."""

from openclaw import Agent, Event, Schedule, on


class Report(Agent):
    """Writes `config.report_url` once a day; emits `alarm` for items at `config.alarm_at`."""

    schedule = Schedule.daily(hour=18, timezone="Europe/Berlin")

    @on("items_analysed")
    async def note(self, event: Event) -> None:
        items = event.data["items"]
        await self.state.update("today", lambda today: today + items, [])
        for item in items:
            if item["score"] >= self.config.get("alarm_at", 8):
                await self.emit("alarm", item, idempotency_key=f"alarm {item['id']}")

    async def run(self) -> dict[str, int]:
        today = await self.state.get("today", [])
        analysed = self.state.read_from("analyse").get("analysed", 0)
        if today:
            report = {"items": today, "analysed_so_far": analysed, "at": self.now_iso()}
            response = await self.http.post(self.config.report_url, json=report)
            if not response.ok:
                raise RuntimeError(f"the report was answered {response.status_code}")
            sent = {item["id"] for item in today}
            # Items may have come in while the report was under way.
            await self.state.update(
                "today", lambda now: [item for item in now if item["id"] not in sent], []
            )
        return {"items": len(today)}
