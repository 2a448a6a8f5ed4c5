"""Does one job after the other."""

import asyncio

from openclaw import Agent, Event, on


class Worker(Agent):
    """Takes `config.seconds` for each event `job`."""

    @on("job")
    async def work(self, event: Event) -> None:
        await asyncio.sleep(self.config.seconds)
        await self.state.update("done", lambda done: done + 1, 0)
