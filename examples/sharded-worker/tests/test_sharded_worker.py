from __future__ import annotations

from typing import Any

from openclaw import slot_of
from sensors import Sensors
from shard_worker import ShardWorker


async def test_a_worker_keeps_a_mean_for_each_source(harness: Any) -> None:
    h = harness(Sensors, ShardWorker, config={"sources": 2})
    await h.run()
    await h.run()
    worker = h["shard-worker"]
    means = [worker.metrics.of("reading_mean", source=source) for source in ("s0", "s1")]
    assert means == [1.5, 2.5]
    assert worker.state["mean:s0"] == [2, 3.0]
    assert [event.key for event in h.emitted] == ["s0", "s1", "s0", "s1"]


async def test_a_redelivered_reading_counts_once(harness: Any) -> None:
    h = harness(ShardWorker)
    h.crash_after("state.set")
    try:
        await h.deliver("reading", {"source_id": "s", "value": 4.0}, key="s")
    except BaseException as crash:
        assert "state.set" in str(crash)
    await h.restart()
    assert h.state["mean:s"] == [1, 4.0]


def test_four_replicas_share_the_sources() -> None:
    owners = {slot_of(f"s{number}") % 4 for number in range(12)}
    assert owners == {0, 1, 2, 3}
