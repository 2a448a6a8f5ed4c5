"""Bounded waiting: the only place of the package that sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.001
"""Short against the shortest latency judged (50 ms) and long enough not to load a core."""

NANOSECONDS = 1_000_000_000


def wait_until(condition: Callable[[], T], seconds: float, every: float = POLL_S) -> T:
    """Polls until the condition is truthy or the time is over; answers its last value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        time.sleep(every)


def holds_for(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """True when the condition stayed true for the whole time: how an absence is proven."""
    return not wait_until(lambda: not condition(), seconds, every)


def seconds_since(start_ns: int) -> float:
    """Seconds since a CLOCK_MONOTONIC moment."""
    return (time.monotonic_ns() - start_ns) / NANOSECONDS
