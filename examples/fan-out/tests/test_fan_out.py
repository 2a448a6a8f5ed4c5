from __future__ import annotations

from typing import Any

import pytest
from join import Join
from split import Split
from work import Work


async def test_fan_out_comes_together_again_in_any_order(harness: Any) -> None:
    h = harness(Split, Work, Join, config={"pieces": ["a b", "c", "d e f"]})
    batch = await h.run()
    [done] = [event.data for event in h.emitted if event.name == "batch_done"]
    assert done == {"batch": batch, "sum": 6}
    assert dict(h["join"].state) == {}


async def test_fan_in_counts_a_redelivered_piece_once(harness: Any) -> None:
    h = harness(Join)
    piece = {"batch": "b", "of": 2, "n": 1, "result": 5}
    await h.deliver("piece_done", piece)
    await h.deliver("piece_done", piece)
    await h.deliver("piece_done", {**piece, "n": 0})
    assert [e.data for e in h.emitted if e.name == "batch_done"] == [{"batch": "b", "sum": 10}]


@pytest.mark.parametrize("stage", ["split", "work", "join"])
@pytest.mark.parametrize("point", ["state.set", "state.transaction", "emit", "done"])
async def test_a_batch_is_joined_once_whichever_stage_dies(
    harness: Any, stage: str, point: str
) -> None:
    h = harness(Split, Work, Join, config={"pieces": ["a b", "c"]})
    h[stage].crash_after(point)
    try:
        await h.run()
    except BaseException as crash:
        assert point in str(crash)
        await h[stage].restart()
    sums = [event.data["sum"] for event in h.emitted if event.name == "batch_done"]
    assert sums == [3]
