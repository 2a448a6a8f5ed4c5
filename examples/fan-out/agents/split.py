"""Fan-out: cuts a batch into pieces that replicas of `work` share among them."""

from openclaw import Agent, Schedule


class Split(Agent):
    """Emits one `piece_ready` for each of `config.pieces`."""

    schedule = Schedule.cron("0 * * * *")

    async def run(self) -> str:
        batch = self.generate_id()
        pieces = self.config.pieces
        async with self.state.transaction() as tx:
            tx.set("batch", batch)
            for number, piece in enumerate(pieces):
                tx.emit(
                    "piece_ready", {"batch": batch, "of": len(pieces), "n": number, "piece": piece}
                )
        return batch
