"""How late the event loop is: a tick it should get to twice a second."""

from __future__ import annotations

import asyncio
import time

INTERVAL = 0.5
MAX_LAG = 1.0


class Pulse:
    """Ticks on the loop that does the agent's work, so a blocked loop is seen."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due = time.monotonic() + INTERVAL
        self._worst = 0.0
        self._handle = loop.call_later(INTERVAL, self._tick)

    def responsive(self) -> bool:
        """Say whether the loop is less than a second late now, and was since last asked."""
        return self.take_lag() < MAX_LAG

    def take_lag(self) -> float:
        """Return the worst delay since last asked, in seconds."""
        worst = max(self._worst, time.monotonic() - self._due)
        self._worst = 0.0
        return max(worst, 0.0)

    def stop(self) -> None:
        """Tick no more."""
        self._handle.cancel()

    def _tick(self) -> None:
        now = time.monotonic()
        self._worst = max(self._worst, now - self._due)
        self._due = now + INTERVAL
        self._handle = self._loop.call_later(INTERVAL, self._tick)
