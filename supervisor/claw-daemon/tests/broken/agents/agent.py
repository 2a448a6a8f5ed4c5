from openclaw import Agent


class Example(Agent):
    async def run(self) -> None: ...
