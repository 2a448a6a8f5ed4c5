"""The workers: give this agent `replicas: 3` and each piece goes to one that is free."""

from openclaw import Agent, Event, on


class Work(Agent):
    """Does a piece and says so."""

    @on("piece_ready")
    async def work(self, event: Event) -> None:
        piece = event.data
        result = len(piece["piece"].split())
        await self.emit("piece_done", {**piece, "result": result, "replica": self.replica})
