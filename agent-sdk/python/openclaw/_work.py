"""The piece of work a task is busy with, and where it keeps what is sent with `done`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ._agent import Agent
    from ._event import Event, Trigger


class Op(NamedTuple):
    """A write that waits: encoded, so that nobody can change it any more. No value = delete."""

    value: bytes | None
    ttl_ms: int | None
    if_version: int | None

    def wire(self, key: str) -> str:
        """Return the operation as JSON text, the value's bytes as they are."""
        fields: dict[str, Any] = {"op": "delete" if self.value is None else "set", "key": key}
        if self.ttl_ms is not None:
            fields["ttl_ms"] = self.ttl_ms
        if self.if_version is not None:
            fields["if_version"] = self.if_version
        text = json.dumps(fields)
        return text if self.value is None else f'{text[:-1]}, "value": {self.value.decode()}}}'


class Work:
    """One attempt at a run or an event."""

    def __init__(self, fields: dict[str, Any], trigger: Trigger, given: list[Event]) -> None:
        self.id: str = fields["work"]
        self.attempt: int = fields["attempt"]
        self.kind: str = fields["kind"]
        self.run: str = fields.get("run") or self.id
        self.traceparent: str | None = fields.get("traceparent")
        self.timeout_ms: int | None = fields.get("timeout_ms")
        self.trigger = trigger
        self.given = given
        self.buffered = False
        # What an author leaves running in the background outlives the work it was begun in.
        self.over = False
        self.ops: dict[str, dict[str, Op]] = {"state": {}, "shared": {}}
        self.events: list[bytes] = []
        self.metrics: list[dict[str, Any]] = []

    def keep(self, space: str, key: str, op: Op) -> None:
        """Keep a write for `done`; the last one of a key counts."""
        kept = self.ops[space].get(key)
        # The condition of the first write still holds for the group; later ones add nothing.
        condition = op.if_version if kept is None else kept.if_version
        self.ops[space][key] = op._replace(if_version=condition)

    def forget_writes(self) -> None:
        """Drop what was kept for `done`; a failed handler must leave nothing behind."""
        self.buffered = False
        self.ops = {"state": {}, "shared": {}}
        self.events = []

    def done_body(self, fields: dict[str, Any]) -> bytes:
        """Return the report of this attempt with everything that commits together."""
        parts = [json.dumps({"attempt": self.attempt, **fields})[:-1]]
        for space, ops in self.ops.items():
            if ops:
                listed = ", ".join(op.wire(key) for key, op in ops.items())
                parts.append(f'"{space}": [{listed}]')
        if self.events:
            listed = ", ".join(event.decode() for event in self.events)
            parts.append(f'"events": [{listed}]')
        if self.metrics:
            parts.append(f'"metrics": {json.dumps(self.metrics)}')
        return (", ".join(parts) + "}").encode()


class Scope(NamedTuple):
    """Whose code is running, and for what."""

    agent: Agent
    work: Work | None


current: ContextVar[Scope | None] = ContextVar("openclaw_scope", default=None)

# Called with the name of each effect after it has happened; a harness injects crashes here.
Witness = Callable[[str], None]


def current_work() -> Work | None:
    """Return the work this task is busy with, if any."""
    scope = current.get()
    return scope.work if scope and scope.work and not scope.work.over else None


def buffering() -> Work | None:
    """Return the work whose writes are kept for `done`, if this task is doing such."""
    work = current_work()
    return work if work is not None and work.buffered else None


def trace_headers() -> dict[str, str] | None:
    """Return the trace of the work this task is busy with, as a header."""
    work = current_work()
    return {"traceparent": work.traceparent} if work and work.traceparent else None
