"""Last of four: tells people, once for each item."""

from openclaw import Agent, Alert, Event, on


class AlertPeople(Agent):
    """Sends an alert through the project's notifiers."""

    name = "alert"

    @on("alarm")
    async def tell(self, event: Event) -> None:
        item = event.data
        details = {"link": item["link"], "score": item["score"]}
        # A redelivered event reaches people once, by the key.
        await self.alert(Alert(item["title"], "critical", details, dedup_key=item["id"]))
        await self.state.update("sent", lambda sent: sent + 1, 0)
