from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openclaw import Forbidden, _check
from openclaw._source import classes_of, import_file, load

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*/*.py"))
FEED = "https://news.example/feed"
REPORT = "https://reports.example/daily"


def agent(path: str) -> Any:
    return load(str(EXAMPLES / path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_passes_its_check(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _check.check(str(path), name=None, schedule=None) == 0
    assert capsys.readouterr().out
    assert len(classes_of(import_file(path))) == 1


def pipeline(harness: Any, **config: Any) -> Any:
    stages = [agent(f"pipeline/{name}.py") for name in ("collect", "analyse", "report", "alert")]
    h = harness(*stages, config={"feed": FEED, "report_url": REPORT, **config})
    h.http.post(REPORT, status=201)
    return h


def feed(*titles: str) -> str:
    items = (
        f"<item><title>{t}</title><guid>{t}</guid><link>https://x/</link></item>" for t in titles
    )
    return f"<rss><channel>{''.join(items)}</channel></rss>"


async def test_the_pipeline_collects_analyses_reports_and_alerts(harness: Any) -> None:
    h = pipeline(harness)
    h.http.get(FEED, feed("all calm"), feed("all calm", "Outage in Rome"), feed("Outage in Rome"))
    await h.advance("6h")
    assert [alert.title for alert in h.alerts] == ["Outage in Rome"]
    assert h["alert"].state["sent"] == 1
    [report] = h.http.to(REPORT)
    assert [item["title"] for item in report.json["items"]] == ["all calm", "Outage in Rome"]
    assert report.json["at"] == "2026-01-05T17:00:00.000Z"
    assert report.json["analysed_so_far"] == 2
    assert h["report"].state["today"] == []


async def test_the_pipeline_asks_a_model_where_there_is_one(harness: Any) -> None:
    h = pipeline(harness, use_llm=True)
    h.http.get(FEED, feed("odd noise", "odd smell"))
    h.llm.answer('{"score": 10}', "I would rather not say")
    await h.run()
    scores = [item["score"] for item in h.emitted[1].data["items"]]
    assert scores == [10, 1]
    assert [alert.title for alert in h.alerts] == ["odd noise"]


@pytest.mark.parametrize("stage", ["collect", "analyse", "report", "alert"])
@pytest.mark.parametrize("point", ["state.set", "state.transaction", "emit", "done"])
async def test_the_pipeline_loses_and_doubles_nothing_when_a_stage_dies(
    harness: Any, stage: str, point: str
) -> None:
    h = pipeline(harness)
    h.http.get(FEED, feed("Outage in Rome"))
    h[stage].crash_after(point)
    try:
        await h.run()
    except BaseException as crash:
        assert point in str(crash)
        await h[stage].restart()
    await h.run()
    assert [event.name for event in h.emitted] == ["items_collected", "items_analysed", "alarm"]
    assert (h["analyse"].state["analysed"], h["alert"].state["sent"]) == (1, 1)
    assert len(h.alerts) == 1


async def test_a_feed_that_is_away_fails_the_run_and_loses_nothing(harness: Any) -> None:
    h = pipeline(harness)
    h.http.get(FEED, 503, feed("x"))
    with pytest.raises(RuntimeError, match="503"):
        await h.run()
    assert await h.run() == {"new": 1}


async def test_fan_out_comes_together_again_in_any_order(harness: Any) -> None:
    stages = [agent(f"fan_out/{name}.py") for name in ("split", "work", "join")]
    h = harness(*stages, config={"pieces": ["a b", "c", "d e f"]})
    batch = await h.run()
    [done] = [event.data for event in h.emitted if event.name == "batch_done"]
    assert done == {"batch": batch, "sum": 6}
    assert dict(h["join"].state) == {}


async def test_fan_in_counts_a_redelivered_piece_once(harness: Any) -> None:
    h = harness(agent("fan_out/join.py"))
    piece = {"batch": "b", "of": 2, "n": 1, "result": 5}
    await h.deliver("piece_done", piece)
    await h.deliver("piece_done", piece)
    await h.deliver("piece_done", {**piece, "n": 0})
    assert [e.data for e in h.emitted if e.name == "batch_done"] == [{"batch": "b", "sum": 10}]


async def test_a_sharded_worker_keeps_a_mean_for_each_source(harness: Any) -> None:
    h = harness(agent("sharded/shard_worker.py"))
    for value in (1.0, 2.0):
        await h.deliver("reading", {"source_id": "s1", "value": value}, key="s1")
    await h.deliver("reading", {"source_id": "s2", "value": 5.0}, key="s2")
    assert (
        h.metrics.of("reading_mean", source="s1"),
        h.metrics.of("reading_mean", source="s2"),
    ) == (
        1.5,
        5.0,
    )


async def test_the_caretaker_starts_and_stops_helpers(harness: Any) -> None:
    caretaker, join, split = (
        agent("fleet_supervisor/caretaker.py"),
        agent("fan_out/join.py"),
        agent("fan_out/split.py"),
    )
    rules = {"join": {"helper": "split", "pending": 1}}
    h = harness(caretaker, join, split, config={"rules": rules}, grants=["fleet"])
    assert await h.run() == ["stopped split"]
    caller = await h.start()
    await caller.fleet.pause("join")
    piece = {"batch": "b", "of": 9, "n": 0, "result": 1}
    for number in range(3):
        await h.deliver("piece_done", {**piece, "n": number})
    assert await h.run() == ["started split"]
    await caller.fleet.resume("join")
    await h.settle()
    assert [verb for _, verb, _ in h.fleet_calls] == ["stop", "pause", "start", "resume"]


async def test_the_caretaker_restarts_what_fails_and_then_tells(harness: Any) -> None:
    h = harness(
        agent("fleet_supervisor/caretaker.py"),
        agent("fan_out/join.py"),
        config={"rules": {}, "restarts_per_hour": 2},
        grants=["fleet"],
    )
    for _ in range(4):
        await h.deliver("agent.failed", {"agent": "join"}, source="openclaw")
    assert h.fleet_calls == [("caretaker", "restart", "join")] * 2
    assert [alert.title for alert in h.alerts] == ["join keeps failing"]


async def test_without_the_right_the_caretaker_is_refused(harness: Any) -> None:
    h = harness(agent("fleet_supervisor/caretaker.py"), config={"rules": {}})
    with pytest.raises(Forbidden):
        await h.run()
