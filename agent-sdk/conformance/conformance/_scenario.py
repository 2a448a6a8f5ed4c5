"""What scenarios are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ._agent_process import World

Scenario = Callable[[World], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(check: Scenario) -> Scenario:
    """Add a scenario to the list."""
    SCENARIOS[check.__name__] = check
    return check


def expect(holds: Any, sentence: str) -> None:
    """Fail the scenario with the sentence that does not hold."""
    if not holds:
        raise AssertionError(sentence)


def reads_of(supervisor: Any, key: str) -> bool:
    """Say whether the agent has asked for a key."""
    return any(r.method == "GET" and r.parts[-1] == key for r in supervisor.requests)


async def a_moment() -> None:
    """Give a client that misbehaves the time to do so; nothing is waited for."""
    await asyncio.sleep(0.02)
