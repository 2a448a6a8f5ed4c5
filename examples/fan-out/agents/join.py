"""Fan-in: gathers results until a batch is complete, in whatever order they come."""

from openclaw import Agent, Event, on


class Join(Agent):
    """Emits `batch_done` once for each batch."""

    @on("piece_done")
    async def gather(self, event: Event) -> None:
        piece = event.data
        key = f"batch:{piece['batch']}"

        def add(results: dict[str, int]) -> dict[str, int]:
            return {**results, str(piece["n"]): piece["result"]}

        results = await self.state.update(key, add, {})
        if len(results) == piece["of"]:
            await self.emit("batch_done", {"batch": piece["batch"], "sum": sum(results.values())})
            await self.state.delete(key)
