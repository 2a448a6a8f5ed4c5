"""The supervisor of a harness: state, events and fleet of several agents, all in memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .. import _values
from .._errors import ProtocolError, from_problem
from .._event import Alert, Event
from ._clock import Clock
from ._memory import Memory
from ._metrics_view import MetricsView
from ._sandboxes import SandboxScript

MAX_ATTEMPTS = 5
MAX_HOPS = 32


class Mailbox:
    """What waits for one agent."""

    def __init__(self, name: str, wants: Callable[[str, str], bool]) -> None:
        self.name = name
        self.wants = wants
        self.waiting: deque[dict[str, Any]] = deque()
        self.phase = "running"


class Bus:
    """Holds what agents share, and carries events from one to the others."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.shared = Memory(clock)
        self.memories: dict[str, Memory] = {}
        self.mailboxes: dict[str, Mailbox] = {}
        self.emitted: list[Event] = []
        self.alerts: list[Alert] = []
        self.notices: list[tuple[str, str]] = []
        self.metrics: dict[str, MetricsView] = {}
        self.fleet_calls: list[tuple[str, str, str]] = []
        self.statuses: list[tuple[str, str, float | None]] = []
        self.sandboxes = SandboxScript()
        self.delayed: list[tuple[datetime, dict[str, Any], str, int]] = []
        self._known: dict[tuple[str, str], str] = {}
        self._serial = 0

    def memory_of(self, agent: str) -> Memory:
        """Return an agent's state; an agent nobody knows has an empty one."""
        return self.memories.setdefault(agent, Memory(self.clock))

    def metrics_of(self, agent: str) -> MetricsView:
        """Return an agent's metrics."""
        return self.metrics.setdefault(agent, MetricsView())

    def publish(self, source: str, fields: dict[str, Any], hops: int = 0) -> tuple[str, bool]:
        """Take in an event; return its id and whether it was known already."""
        first = fields["name"].split(".")[0]
        if first in ("openclaw", "agent") and source not in ("openclaw", "test"):
            raise _refusal(400, "bad_request", f"{fields['name']} is a name of the supervisor")
        mark = fields.get("idempotency_key") or fields["id"]
        known = self._known.setdefault((source, mark), fields["id"])
        if known != fields["id"]:
            return known, True
        if fields.get("delay_ms"):
            self.delayed.append((self.clock.after(fields["delay_ms"]), fields, source, hops))
        else:
            self._spread(fields, source, hops)
        return known, False

    def release_due(self) -> None:
        """Publish delayed events whose time has come."""
        due = [entry for entry in self.delayed if entry[0] <= self.clock.now]
        self.delayed = [entry for entry in self.delayed if entry[0] > self.clock.now]
        for _, fields, source, hops in sorted(due, key=lambda entry: entry[0]):
            self._spread(fields, source, hops)

    def submit_run(self, agent: str, kind: str, payload: Any = None) -> dict[str, Any]:
        """Make the work item of a run."""
        trigger = {"kind": kind, "payload": payload, "slot": self.clock.iso()}
        return {**self._item("run"), "trigger": trigger, "agent": agent}

    def submit_event(
        self, fields: dict[str, Any], source: str, hops: int, attempt: int = 1
    ) -> dict[str, Any]:
        """Make the work item of an event."""
        event = {
            "id": fields["id"],
            "name": fields["name"],
            "data": fields.get("data"),
            "key": fields.get("key"),
            "source": source,
            "time": self.clock.iso(),
            "hops": hops,
        }
        item = {**self._item("event"), "trigger": {"kind": "event"}, "event": event}
        return {**item, "attempt": attempt}

    def finish(self, agent: str, item: dict[str, Any], body: dict[str, Any]) -> None:
        """Commit the outcome of an attempt: all of it, or raise."""
        state, shared = body.get("state") or [], body.get("shared") or []
        memory = self.memory_of(agent)
        # Checked first on copies, since the two maps have to change together or not at all.
        for space, ops in ((memory, state), (self.shared, shared)):
            for op in ops:
                space.check_version(op)
        memory.commit(tagged(state))
        self.shared.commit(tagged(shared))
        hops = (item.get("event") or {}).get("hops", 0)
        for event in body.get("events") or []:
            self.publish(agent, event, hops + 1)
        self.metrics_of(agent).take(body.get("metrics") or [])

    def fleet(self, agent: str, verb: str, caller: str, payload: Any) -> dict[str, Any]:
        """Carry out fleet control."""
        mailbox = self.mailboxes.get(agent)
        if mailbox is None:
            raise _refusal(404, "not_found", f"no agent {agent}")
        if agent == caller and verb == "stop":
            raise _refusal(409, "refused", "an agent may not stop itself")
        self.fleet_calls.append((caller, verb, agent))
        if verb == "trigger":
            item = self.submit_run(agent, "manual", payload)
            mailbox.waiting.append(item)
            return {"run": item["run"]}
        phases = {"start": "running", "restart": "running", "resume": "running"}
        mailbox.phase = phases.get(verb, {"stop": "stopped", "pause": "paused"}.get(verb, ""))
        return self.agent_object(mailbox)

    def agent_object(self, mailbox: Mailbox) -> dict[str, Any]:
        """Return what fleet control shows of an agent."""
        return {
            "name": mailbox.name,
            "phase": mailbox.phase,
            "ready": mailbox.phase == "running",
            "reason": None,
            "restarts": 0,
            "replicas": 1,
            "pending_events": len(mailbox.waiting),
        }

    def _spread(self, fields: dict[str, Any], source: str, hops: int) -> None:
        item = self.submit_event(fields, source, hops)
        self.emitted.append(Event.from_wire(item["event"], 1))
        if hops >= MAX_HOPS:
            raise AssertionError(f"{fields['name']} has gone from agent to agent {hops} times")
        for mailbox in self.mailboxes.values():
            if mailbox.wants(fields["name"], source):
                mailbox.waiting.append(self.submit_event(fields, source, hops))

    def _item(self, kind: str) -> dict[str, Any]:
        self._serial += 1
        return {"work": f"w_{self._serial}", "run": f"r_{self._serial}", "attempt": 1, "kind": kind}


def tagged(ops: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return operations with their values as JSON text."""
    return [
        {**op, "text": json.dumps(op["value"], separators=(",", ":")).encode()}
        if op["op"] == "set"
        else op
        for op in ops
    ]


def plain_event(name: str, data: Any, identity: str, key: str | None) -> dict[str, Any]:
    """Return the fields of an event that a test publishes."""
    return {"id": identity, "name": name, "data": json.loads(_values.encode(data)), "key": key}


def _refusal(status: int, code: str, message: str) -> ProtocolError:
    return from_problem(status, {"code": code, "message": message})
