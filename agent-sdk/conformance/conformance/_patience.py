"""Waiting with a limit that a stopped machine does not use up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")

TICK_SECONDS = 0.25


async def within(seconds: float, awaitable: Awaitable[T]) -> T:
    """Return what is awaited; TimeoutError when it took longer.

    Time is counted in ticks in which this process ran. Where everything is stopped for minutes,
    as tests on a busy machine are, all that time is one tick.
    """
    task = asyncio.ensure_future(awaitable)
    left = seconds
    try:
        while left > 0:
            done, _ = await asyncio.wait({task}, timeout=min(left, TICK_SECONDS))
            if done:
                return task.result()
            left -= TICK_SECONDS
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    raise TimeoutError(f"not within {seconds:g} s")
