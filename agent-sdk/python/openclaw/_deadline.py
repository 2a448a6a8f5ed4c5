"""`async with timeout(seconds)`, which Python has from 3.11 on.

Not `asyncio.wait_for`: before Python 3.12 it loses a cancellation that comes together with the
result, and the task that was cancelled lives on.
"""

from __future__ import annotations

import asyncio
import builtins
import sys
from types import TracebackType

__all__ = ["TIMEOUTS", "timeout"]

# On Python 3.10 these are two classes.
TIMEOUTS = (builtins.TimeoutError, asyncio.TimeoutError)

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:

    class timeout:  # noqa: N801 - stands in for the function of later Pythons
        """Cancels the task that is inside when the time is over, and raises TimeoutError."""

        def __init__(self, seconds: float | None) -> None:
            self._seconds = seconds
            self._expired = False
            self._handle: asyncio.TimerHandle | None = None

        def expired(self) -> bool:
            """Say whether the time was over."""
            return self._expired

        async def __aenter__(self) -> timeout:
            if self._seconds is not None:
                loop = asyncio.get_running_loop()
                task = asyncio.current_task()
                assert task is not None, "a coroutine runs in a task"
                self._handle = loop.call_later(max(self._seconds, 0), self._expire, task)
            return self

        async def __aexit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            if self._handle is not None:
                self._handle.cancel()
            if self._expired and kind is asyncio.CancelledError:
                raise builtins.TimeoutError from error

        def _expire(self, task: asyncio.Task[object]) -> None:
            self._expired = True
            task.cancel()
