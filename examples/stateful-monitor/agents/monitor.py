"""Watches HTTP targets and keeps what it has seen: history, incidents, uptime.

State: `history:NAME`, the last checks of a target; `incident:NAME`, what is wrong with it now;
`incidents`, what was wrong before. Events: `incident_opened`, `incident_closed`.
"""

import asyncio
from typing import Any

from openclaw import Agent, Alert, Event, HttpError, Schedule, on

# A day of checks each 30 seconds.
HISTORY = 2880
INCIDENTS = 100


class Monitor(Agent):
    """Checks `config.targets`; after `config.failures` in a row a target has an incident."""

    schedule = Schedule.every(seconds=30)

    async def run(self) -> dict[str, str]:
        """Check every target, or with the payload `{"only": "NAME"}` one of them."""
        only = (self.trigger.payload or {}).get("only")
        targets = [t for t in self.config.targets if only in (None, t["name"])]
        checks = await asyncio.gather(*map(self.check, targets))
        for target, check in zip(targets, checks, strict=True):
            await self.note(target["name"], check)
        return {t["name"]: c["problem"] or "ok" for t, c in zip(targets, checks, strict=True)}

    async def check(self, target: dict[str, Any]) -> dict[str, Any]:
        """Return one check: when, what is wrong (empty if nothing), how many milliseconds."""
        at, took_ms = self.now_iso(), 0.0
        try:
            answer = await self.http.get(target["url"], timeout=target.get("timeout", 5))
        except HttpError as error:
            problem = str(error)
        else:
            well = 200 <= answer.status_code < 300
            problem = "" if well else f"status {answer.status_code}"
            took_ms = round(answer.elapsed * 1000, 1)
        self.logger.info("%s: %s in %.1f ms", target["name"], problem or "ok", took_ms)
        return {"at": at, "problem": problem, "ms": took_ms}

    async def note(self, name: str, check: dict[str, Any]) -> None:
        """Remember a check, and open or close the target's incident, as one step."""
        history = [*await self.state.get(f"history:{name}", []), check][-HISTORY:]
        incident = await self.state.get(f"incident:{name}")
        failing = trailing_failures(history)
        async with self.state.transaction() as tx:
            tx.set(f"history:{name}", history)
            if incident is None and len(failing) >= self.config.get("failures", 2):
                incident = {"id": self.generate_id(), "target": name, "since": failing[0]["at"]}
                incident["problem"] = check["problem"]
                tx.set(f"incident:{name}", incident)
                tx.emit("incident_opened", incident)
            elif incident is not None and not check["problem"]:
                closed = {**incident, "until": check["at"]}
                past = [*await self.state.get("incidents", []), closed][-INCIDENTS:]
                tx.set("incidents", past)
                tx.delete(f"incident:{name}")
                tx.emit("incident_closed", closed)
        up = sum(not entry["problem"] for entry in history)
        self.metrics.gauge("target_up", int(not check["problem"]), target=name)
        self.metrics.gauge("target_uptime_percent", 100 * up / len(history), target=name)

    # Telling people is not part of the step above but follows from its event: if the process
    # dies in between, the event comes again, and the key keeps the alert from being sent twice.
    @on("incident_opened")
    async def tell_of_opened(self, event: Event) -> None:
        """Tell people that something is wrong."""
        incident = event.data
        title = f"{incident['target']} is down: {incident['problem']}"
        await self.alert(Alert(title, "critical", incident, dedup_key=incident["id"]))

    @on("incident_closed")
    async def tell_of_closed(self, event: Event) -> None:
        """Tell people that it is well again."""
        incident = event.data
        title = f"{incident['target']} is up again, after an incident since {incident['since']}"
        await self.alert(Alert(title, "info", incident, dedup_key=f"{incident['id']} closed"))


def trailing_failures(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the failed checks at the end of a history, oldest first."""
    first = len(history)
    while first > 0 and history[first - 1]["problem"]:
        first -= 1
    return history[first:]
