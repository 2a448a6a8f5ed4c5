from __future__ import annotations

from typing import Any

import pytest
from caretaker import Caretaker
from openclaw import Forbidden
from producer import Producer
from worker import Worker

RULES = {"worker": {"source": "producer", "pause_at": 4, "resume_at": 1}}


def fleet(harness: Any, **config: Any) -> Any:
    config = {"rules": RULES, "jobs": 3, "seconds": 0, **config}
    return harness(Caretaker, Producer, Worker, config=config, grants=["fleet"])


async def test_the_source_of_an_agent_that_is_behind_is_paused_until_it_has_caught_up(
    harness: Any,
) -> None:
    h = fleet(harness)
    caretaker = await h.start()
    # A paused worker stands for one that is slow.
    await caretaker.fleet.pause("worker")
    await h["producer"].run()
    assert await h.run() == []
    await h["producer"].run()
    assert await h.run() == ["paused producer"]
    assert await h.run() == []
    await caretaker.fleet.resume("worker")
    await h.settle()
    assert h["worker"].state["done"] == 6
    assert await h.run() == ["resumed producer"]
    assert [call[1:] for call in h.fleet_calls if call[2] == "producer"] == [
        ("pause", "producer"),
        ("resume", "producer"),
    ]


async def test_what_fails_is_restarted_and_then_people_are_told(harness: Any) -> None:
    h = fleet(harness, restarts_per_hour=2)
    for _ in range(4):
        await h.deliver("agent.failed", {"agent": "worker"}, source="openclaw")
    assert h.fleet_calls == [("caretaker", "restart", "worker")] * 2
    assert [alert.title for alert in h.alerts] == ["worker keeps failing"]
    await h.advance("61m")
    await h.deliver("agent.failed", {"agent": "worker"}, source="openclaw")
    assert h.fleet_calls.count(("caretaker", "restart", "worker")) == 3


async def test_without_the_right_nothing_is_seen(harness: Any) -> None:
    h = harness(Caretaker, config={"rules": RULES})
    with pytest.raises(Forbidden):
        await h.run()
