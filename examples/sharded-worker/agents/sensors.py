"""Emits a reading of each source, keyed by it so that a source's readings stay in order."""

from openclaw import Agent, Schedule


class Sensors(Agent):
    """Stands for the world outside."""

    schedule = Schedule.every(seconds=10)

    async def run(self) -> int:
        count = await self.state.update("count", lambda count: count + 1, 0)
        async with self.state.transaction() as tx:
            for number in range(self.config.sources):
                source = f"s{number}"
                reading = {"source_id": source, "value": float(count + number)}
                tx.emit("reading", reading, key=source)
        return int(self.config.sources)
