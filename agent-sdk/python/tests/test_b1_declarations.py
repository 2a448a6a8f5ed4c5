from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import openclaw
import pytest
from openclaw import Agent, Alert, ConfigError, Event, Schedule, ScheduleError, on
from openclaw._agent import name_of
from openclaw._declaration import check_name, hello_body, problems_of
from openclaw.testing import Harness


def test_the_guide_s_imports_work() -> None:
    code = (
        "from openclaw import Agent, Schedule, on, Alert\n"
        "from openclaw.tools import HttpClient, SlackNotifier, PagerDutyClient\n"
        "from openclaw.llm import LLMRouter, Budget, RateLimitError, TimeoutError\n"
        "from openclaw import RateLimitError, TimeoutError, BudgetExceededError, LLMError"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_can_be_imported() -> None:
    for name in openclaw.__all__:
        assert getattr(openclaw, name) is not None
    with pytest.raises(AttributeError):
        openclaw.nothing  # noqa: B018


def test_an_alert_has_title_severity_details_and_dedup_key() -> None:
    alert = Alert("web is down", "critical", {"url": "x"}, "web")
    assert (alert.title, alert.severity, alert.details, alert.dedup_key) == (
        "web is down",
        "critical",
        {"url": "x"},
        "web",
    )
    assert Alert("t") == Alert("t", "warning", {}, None)


async def test_alert_sends_it_to_the_configured_notifiers(harness: type[Harness]) -> None:
    class Watch(Agent):
        async def run(self) -> None:
            await self.alert(Alert("down", "critical", {"n": 1}, "web"))
            await self.alert("down again", severity="info", dedup_key="web")

    h = harness(Watch)
    await h.run()
    assert h.alerts == [Alert("down", "critical", {"n": 1}, "web")]


@pytest.mark.parametrize(
    ("cls_name", "name"),
    [
        ("UptimeMonitor", "uptime-monitor"),
        ("LLMAgent", "llm-agent"),
        ("Hello", "hello"),
        ("S3Sync2Disk", "s3-sync2-disk"),
    ],
)
def test_a_missing_name_is_the_class_name_in_kebab_case(cls_name: str, name: str) -> None:
    assert name_of(type(cls_name, (Agent,), {})) == name


def test_a_name_that_differs_from_the_fleet_file_is_an_error() -> None:
    class Monitor(Agent):
        name = "monitor"

    check_name(Monitor, "monitor")
    check_name(type("Other", (Agent,), {}), "anything")
    with pytest.raises(ConfigError, match=r"'monitor'.*'web-monitor'"):
        check_name(Monitor, "web-monitor")


@pytest.mark.parametrize(
    ("schedule", "declared"),
    [
        (Schedule.every(minutes=5), {"every_ms": 300_000, "run_on_start": True}),
        (Schedule.every(minutes=1), {"every_ms": 60_000, "run_on_start": True}),
        (Schedule.every(minutes=2), {"every_ms": 120_000, "run_on_start": True}),
        (Schedule.every(minutes=30), {"every_ms": 1_800_000, "run_on_start": True}),
        (Schedule.every(hours=1), {"every_ms": 3_600_000, "run_on_start": True}),
        (Schedule.every(hours=6), {"every_ms": 21_600_000, "run_on_start": True}),
        (Schedule.every(days=1), {"every_ms": 86_400_000, "run_on_start": True}),
        (
            Schedule.every(seconds=30, run_on_start=False),
            {"every_ms": 30_000, "run_on_start": False},
        ),
        (Schedule.every("1h30m"), {"every_ms": 5_400_000, "run_on_start": True}),
        (Schedule.cron("0 */2 * * *"), {"cron": "0 */2 * * *", "run_on_start": False}),
        (
            Schedule.cron("30 2 * * *", timezone="Europe/Berlin"),
            {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "run_on_start": False},
        ),
        (Schedule.daily(hour=9, minute=0), {"daily": "09:00", "run_on_start": False}),
        (
            Schedule.daily(hour=9, timezone="Europe/Berlin", run_on_start=True),
            {"daily": "09:00", "timezone": "Europe/Berlin", "run_on_start": True},
        ),
    ],
)
def test_schedules_are_declared_as_the_protocol_says(
    schedule: Schedule, declared: dict[str, object]
) -> None:
    assert schedule.declared() == declared


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("every 5m", Schedule.every(minutes=5)),
        ('cron "0 */2 * * *"', Schedule.cron("0 */2 * * *")),
        ("0 */2 * * *", Schedule.cron("0 */2 * * *")),
        ("@hourly", Schedule.cron("@hourly")),
        ("daily 09:00", Schedule.daily(hour=9)),
    ],
)
def test_the_fleet_file_s_grammar_is_the_same(text: str, schedule: Schedule) -> None:
    assert Schedule.parse(text) == schedule


@pytest.mark.parametrize(
    "text", ["every", "every 5x", "every 10ms", "daily 25:00", "daily 9", "* * *", "61 * * * *"]
)
def test_a_wrong_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        Schedule.parse(text)


async def test_every_fires_at_start_and_then_so_much_time_apart(harness: type[Harness]) -> None:
    class Every(Agent):
        schedule = Schedule.every(minutes=5)

        async def run(self) -> None:
            times = await self.state.get("times", [])
            await self.state.set("times", [*times, (self.now_iso()[11:16], self.trigger.kind)])

    h = harness(Every)
    await h.advance("10m")
    assert h.state["times"] == [("12:00", "start"), ("12:05", "schedule"), ("12:10", "schedule")]


async def test_cron_and_daily_do_not_fire_at_start(harness: type[Harness]) -> None:
    class Daily(Agent):
        schedule = Schedule.daily(hour=9, minute=0)

        async def run(self) -> None:
            await self.state.update("runs", lambda runs: [*runs, self.now_iso()], [])

    h = harness(Daily)
    await h.advance("1h")
    assert "runs" not in h.state
    await h.advance("2d")
    assert h.state["runs"] == ["2026-01-06T09:00:00.000Z", "2026-01-07T09:00:00.000Z"]


async def test_run_on_start_overrides(harness: type[Harness]) -> None:
    class Cron(Agent):
        schedule = Schedule.cron("0 0 1 1 *", run_on_start=True)

        async def run(self) -> None:
            await self.state.set("ran", True)

    h = harness(Cron)
    await h.advance("1s")
    assert h.state["ran"]


async def test_an_agent_without_a_schedule_is_event_only(harness: type[Harness]) -> None:
    class Listener(Agent):
        @on("thing")
        async def got(self, event: Event) -> None:
            await self.state.set("got", event.data)

    assert hello_body(Listener(), "i", None)["schedule"] is None
    h = harness(Listener)
    await h.advance("7d")
    await h.deliver("thing", 1)
    assert dict(h.state) == {"got": 1}
    assert await h.run() is None


def test_hello_declares_subscriptions_probes_and_schedule() -> None:
    class Listener(Agent):
        name = "listener"
        schedule = Schedule.every(minutes=1)

        async def readiness_check(self) -> bool:
            return True

        @on("a.*")
        @on("b", source="collector")
        async def got(self, event: Event) -> None: ...

    hello = hello_body(Listener(), "listener-0-1", None)
    assert hello["protocols"] == [1]
    assert hello["name"] == "listener"
    assert hello["probes"] == ["readiness"]
    assert hello["schedule"] == {"every_ms": 60_000, "run_on_start": True}
    assert hello["subscriptions"] == [
        {"event": "a.*", "from": None, "handler": "got", "writes": "buffered"},
        {"event": "b", "from": "collector", "handler": "got", "writes": "buffered"},
    ]


def test_check_finds_what_would_go_wrong_at_start(tmp_path: pathlib.Path) -> None:
    class Wrong(Agent):
        schedule = "every 5m"

        @on("x")
        async def got(self) -> None: ...

        async def on_error(self) -> None: ...  # type: ignore[override]

    problems = problems_of(Wrong, name=None, schedule=None)
    assert problems == [
        "Wrong has a schedule, but no run() for it to call",
        "Wrong.on_error has to take (self, exc)",
        "Wrong.got has to take (self, event)",
    ]


@pytest.mark.parametrize("arguments", [{}, {"minutes": "5"}, {"interval": 5}, {"seconds": 0.1}])
def test_an_interval_that_is_none_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError, match="interval|numbers|once a second"):
        Schedule.every(**arguments)
