"""A clock that stands still until it is moved."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

# A Monday, in a year without surprises.
DEFAULT_START = datetime(2026, 1, 5, 12, 0, tzinfo=timezone.utc)


class Clock:
    """The time of a harness."""

    def __init__(self, start: datetime = DEFAULT_START) -> None:
        if start.tzinfo is None:
            raise ValueError("the start of a clock needs a time zone")
        self.now = start.astimezone(timezone.utc)

    def after(self, milliseconds: int) -> datetime:
        """Return the time so much later."""
        return self.now + timedelta(milliseconds=milliseconds)

    def iso(self) -> str:
        """Return the time as the protocol writes it."""
        return self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
