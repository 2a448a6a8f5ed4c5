"""The program that broken fleets name."""

from openclaw import Agent


class Example(Agent):
    """Does nothing."""

    async def run(self) -> None:
        """Do it."""
