"""Tasks that nobody awaits, and whose silent end would leave the agent deaf."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

# Takes what the task did, and its exception; None if somebody cancelled it.
OnBroken = Callable[[str, "BaseException | None"], None]


def watch(
    task: asyncio.Task[Any], what: str, on_broken: OnBroken, is_wanted: Callable[[], bool]
) -> None:
    """Tell when a task fails, or is cancelled, while it is still wanted."""

    def ended(task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if (task.cancelled() or error is not None) and is_wanted():
            on_broken(what, error)

    task.add_done_callback(ended)
