from __future__ import annotations

from typing import Any

import pytest
from monitor import HISTORY, Monitor
from openclaw.testing import SimulatedCrash

WEB, API = "https://web.example/", "https://api.example/up"
TARGETS = [{"name": "web", "url": WEB}, {"name": "api", "url": API}]


def monitor(harness: Any, *web: Any, **config: Any) -> Any:
    h = harness(Monitor, config={"targets": TARGETS, **config})
    h.http.get(WEB, *web)
    h.http.get(API, 204)
    return h


async def test_an_incident_opens_after_two_failures_and_closes_with_the_first_success(
    harness: Any,
) -> None:
    h = monitor(harness, 200, 503, 200, 503, OSError("refused"), 503, 200)
    await h.advance("3m")
    assert [(alert.severity, alert.title) for alert in h.alerts] == [
        ("critical", "web is down: GET https://web.example/: refused"),
        ("info", "web is up again, after an incident since 2026-01-05T12:01:30.000Z"),
    ]
    [past] = h.state["incidents"]
    assert (past["target"], past["until"]) == ("web", "2026-01-05T12:03:00.000Z")
    assert "incident:web" not in h.state
    assert [event.name for event in h.emitted] == ["incident_opened", "incident_closed"]
    assert (h.metrics.of("target_up", target="web"), len(h.state["history:web"])) == (1, 7)
    assert 42 < h.metrics.of("target_uptime_percent", target="web") < 43
    assert h.metrics.of("target_uptime_percent", target="api") == 100


async def test_a_payload_narrows_the_run_to_one_target(harness: Any) -> None:
    h = monitor(harness, 200)
    assert await h.run({"only": "web"}) == {"web": "ok"}
    assert list(h.state) == ["history:web"]
    assert await h.run() == {"web": "ok", "api": "ok"}


async def test_the_result_of_a_run_says_what_is_wrong(harness: Any) -> None:
    assert await monitor(harness, 500).run() == {"web": "status 500", "api": "ok"}


@pytest.mark.parametrize("point", ["state.transaction", "emit", "alert", "done", "http"])
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_people_are_told_once_wherever_it_dies(harness: Any, point: str, count: int) -> None:
    h = monitor(harness, 503)
    h.crash_after(point, count)
    for _ in range(6):
        try:
            await h.run()
        except SimulatedCrash:
            await h.restart()
    assert [alert.severity for alert in h.alerts] == ["critical"]
    assert [event.name for event in h.emitted] == ["incident_opened"]


async def test_an_incident_survives_a_restart(harness: Any) -> None:
    h = monitor(harness, 503, 503, 200, failures=1)
    await h.run()
    since = h.state["incident:web"]["since"]
    await h.restart()
    await h.run()
    await h.run()
    assert [incident["since"] for incident in h.state["incidents"]] == [since]
    assert len(h.alerts) == 2


async def test_the_history_is_bounded(harness: Any) -> None:
    h = monitor(harness, 200)
    entry = {"at": "2026-01-05T11:59:30.000Z", "problem": "", "ms": 1.0}
    h.state["history:web"] = [entry] * HISTORY
    await h.run()
    assert len(h.state["history:web"]) == HISTORY
    assert h.state["history:web"][-1]["at"] == "2026-01-05T12:00:00.000Z"
