"""Makes more jobs than the worker can do."""

from openclaw import Agent, Schedule


class Producer(Agent):
    """Emits `config.jobs` events `job` at a time."""

    schedule = Schedule.every(seconds=5)

    async def run(self) -> None:
        async with self.state.transaction() as tx:
            for number in range(self.config.jobs):
                tx.emit("job", {"number": number})
