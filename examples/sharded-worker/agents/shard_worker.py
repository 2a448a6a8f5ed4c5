"""Sharding: events of one `source_id` always come to the same replica, in order.

`replicas: 4`, `sharding: {strategy: hash, key: source_id}` in the fleet file, `key=` in `emit`.
"""

from openclaw import Agent, Event, on, slot_of


class ShardWorker(Agent):
    """Keeps a running mean for each source."""

    @on("reading")
    async def take(self, event: Event) -> None:
        source, value = event.data["source_id"], event.data["value"]
        owner = slot_of(source) % self.replicas
        if owner != self.replica:
            self.logger.warning("source %s belongs to replica %d", source, owner)

        def add(mean: list[float]) -> list[float]:
            count, total = mean
            return [count + 1, total + value]

        count, total = await self.state.update(f"mean:{source}", add, [0, 0.0])
        self.metrics.gauge("reading_mean", total / count, source=source)
