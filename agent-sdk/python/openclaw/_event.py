"""What handlers get, what triggers a run, and what an alert says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _values

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Event:
    """One event as a handler sees it."""

    name: str
    data: Any
    id: str
    source: str
    time: datetime
    attempt: int = 1
    key: str | None = None

    @classmethod
    def from_wire(cls, fields: dict[str, Any], attempt: int) -> Event:
        """Build an event from a work item."""
        return cls(
            name=fields["name"],
            data=_values.untag(fields.get("data")),
            id=fields.get("id", ""),
            source=fields.get("source") or "",
            time=parse_time(fields.get("time") or "1970-01-01T00:00:00Z"),
            attempt=attempt,
            key=fields.get("key"),
        )


@dataclass(frozen=True)
class Trigger:
    """Why `run()` was called."""

    kind: str = "manual"
    payload: Any = None
    slot: datetime | None = None
    run: str | None = None
    attempt: int = 1


@dataclass
class Alert:
    """Something a person should know; `await self.alert(Alert(…))` sends it.

    The same `dedup_key` within five minutes is sent once.
    """

    title: str
    severity: str = "warning"
    details: dict[str, Any] = field(default_factory=dict)
    dedup_key: str | None = None


def parse_time(text: str) -> datetime:
    """Read a time of the protocol."""
    from datetime import datetime

    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
