from __future__ import annotations

from typing import Any

import pytest
from alert import AlertPeople
from analyse import Analyse
from collect import Collect
from report import Report

FEED = "https://news.example/feed"
REPORT = "https://reports.example/daily"


def pipeline(harness: Any, **config: Any) -> Any:
    stages = (Collect, Analyse, Report, AlertPeople)
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
