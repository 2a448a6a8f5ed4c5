from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from openclaw import Agent, Event, Reject, buffered, on, write_through
from openclaw._event import parse_time
from openclaw._metrics import Metrics
from openclaw._pulse import Pulse
from openclaw.testing import Harness, SimulatedCrash


class Journal(Agent):
    """Writes down what is called."""

    async def setup(self) -> None:
        self.calls = ["setup"]

    async def run(self) -> str:
        self.calls.append("run")
        if self.trigger.payload == "fail":
            raise ValueError("broken")
        return "done"

    async def teardown(self) -> None:
        self.calls.append("teardown")

    async def on_error(self, exc: Exception) -> None:
        self.calls.append(f"on_error {exc}")

    @on("bad")
    async def bad(self, event: Event) -> None:
        await self.state.set("half", 1)
        await self.emit("half")
        raise RuntimeError("bad event")


async def test_hooks_are_called_at_their_stages(harness: type[Harness]) -> None:
    h = harness(Journal)
    agent = await h.start()
    assert await h.run() == "done"
    with pytest.raises(ValueError, match="broken"):
        await h.run("fail")
    await h.stop()
    assert agent.calls == ["setup", "run", "run", "on_error broken", "teardown"]


async def test_on_error_is_called_after_a_failed_handler_which_leaves_nothing(
    harness: type[Harness],
) -> None:
    h = harness(Journal)
    agent = await h.start()
    with pytest.raises(RuntimeError):
        await h.deliver("bad")
    assert agent.calls == ["setup"] + ["on_error bad event"] * 5
    assert dict(h.state) == {}
    assert [event.name for event in h.emitted] == ["bad"]
    assert len(h.dead_letters) == 1


async def test_the_default_on_error_logs(
    harness: type[Harness], caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Agent):
        async def run(self) -> None:
            raise KeyError("x")

    with pytest.raises(KeyError):
        await harness(Failing).run()
    [record] = caplog.records
    assert (record.name, record.levelno) == ("failing", logging.ERROR)
    assert record.exc_info


async def test_reject_gives_an_event_up_at_once(harness: type[Harness]) -> None:
    class Picky(Agent):
        @on("x")
        async def got(self, event: Event) -> None:
            raise Reject("no")

    h = harness(Picky)
    with pytest.raises(Reject):
        await h.deliver("x")
    assert [item["attempt"] for item in h.dead_letters] == [1]


async def test_an_event_has_data_name_id_source_time_and_attempt(harness: type[Harness]) -> None:
    seen: list[Event] = []

    class Listener(Agent):
        @on("data_collected")
        async def got(self, event: Event) -> None:
            seen.append(event)
            if event.attempt < 3:
                raise OSError("again")

    h = harness(Listener)
    await h.deliver("data_collected", {"items": [1]}, source="collector")
    assert len(h.failures) == 2
    assert [event.attempt for event in seen] == [1, 2, 3]
    event = seen[-1]
    assert (event.name, event.data, event.source) == (
        "data_collected",
        {"items": [1]},
        "collector",
    )
    assert event.id == seen[0].id
    assert event.time == h.now


async def test_several_handlers_wildcards_and_sources(harness: type[Harness]) -> None:
    class Listener(Agent):
        async def setup(self) -> None:
            self.calls: list[str] = []

        @on("a.b")
        async def exact(self, event: Event) -> None:
            self.calls.append("exact")

        @on("a.*")
        async def star(self, event: Event) -> None:
            self.calls.append("star")

        @on("a.>")
        def rest(self, event: Event) -> None:
            self.calls.append("rest")

        @on("a.b", source="collector")
        async def from_collector(self, event: Event) -> None:
            self.calls.append("collector")

    h = harness(Listener)
    agent = await h.start()
    await h.deliver("a.b")
    await h.deliver("a.b.c")
    await h.deliver("a.b", source="collector")
    await h.deliver("a")
    assert agent.calls == ["exact", "star", "rest", "rest", "exact", "star", "rest", "collector"]


@pytest.mark.parametrize("name", ["", "a b", "a..b", "a.>.b", "ä"])
def test_a_name_that_no_event_can_have_is_refused(name: str) -> None:
    with pytest.raises(Exception, match="event name"):
        on(name)


async def test_emit_is_awaited_and_returns_the_id(harness: type[Harness]) -> None:
    class Emitter(Agent):
        async def run(self) -> list[str]:
            return [
                await self.emit("x", {"ids": {1, 2}}),
                await self.emit("y", idempotency_key="once"),
                await self.emit("y", idempotency_key="once"),
            ]

    h = harness(Emitter)
    first, second, third = await h.run()
    assert [event.id for event in h.emitted] == [first, second]
    assert second == third
    assert h.emitted[0].data == {"ids": {1, 2}}


async def test_a_delayed_event_comes_when_its_time_has(harness: type[Harness]) -> None:
    class Later(Agent):
        async def run(self) -> None:
            await self.emit("reminder", {"n": 1}, delay="1h")

        @on("reminder")
        async def remind(self, event: Event) -> None:
            await self.state.set("reminded", self.now_iso())

    h = harness(Later)
    await h.run()
    await h.advance("59m")
    assert dict(h.state) == {}
    await h.advance("2m")
    assert h.state["reminded"] == "2026-01-05T13:00:00.000Z"


async def test_plain_methods_run_in_a_thread_and_may_wait(harness: type[Harness]) -> None:
    class Plain(Agent):
        def setup(self) -> None:  # type: ignore[override]
            self.blocked = False

        def run(self) -> int:  # type: ignore[override]
            count: int = self.wait(self.state.get("count", 0))
            self.wait(self.state.set("count", count + 1))
            return count

    h = harness(Plain)
    assert [await h.run(), await h.run()] == [0, 1]


async def test_handlers_buffer_and_runs_write_through(harness: type[Harness]) -> None:
    class Both(Agent):
        @on("x")
        async def got(self, event: Event) -> None:
            await self.state.set("x", 1)
            assert await self.state.get("x") == 1
            assert await self.state.keys() == ["x"]
            await self.emit("later")
            assert await self.state.items() == {"x": 1}

        @on("y")
        @write_through
        async def at_once(self, event: Event) -> None:
            await self.state.set("y", 1)

        @buffered
        async def run(self) -> None:
            await self.state.set("r", 1)

    h = harness(Both)
    for event, key in (("x", "x"), ("y", "y")):
        h.crash_after("state.set")
        with pytest.raises(SimulatedCrash):
            await h.deliver(event)
        assert (key in h.state) is (event == "y")
        await h.restart()
        assert h.state[key] == 1
    h.crash_after("state.set")
    with pytest.raises(SimulatedCrash):
        await h.run()
    assert "r" not in h.state
    assert [event.name for event in h.emitted] == ["x", "later", "y"]


async def test_what_is_left_in_the_background_writes_through(harness: type[Harness]) -> None:
    class Background(Agent):
        @on("x")
        async def got(self, event: Event) -> None:
            self.released = asyncio.Event()
            self.task = asyncio.ensure_future(self.later())

        async def later(self) -> None:
            await self.released.wait()
            await self.state.set("late", 1)
            self.metrics.gauge("late", 1)

    h = harness(Background)
    await h.deliver("x")
    agent = h.agent
    agent.released.set()
    await agent.task
    assert h.state["late"] == 1
    await h.run()
    assert h.metrics["late"] == 1


async def test_liveness_and_readiness_are_asked_and_an_exception_is_false(
    harness: type[Harness],
) -> None:
    class Probed(Agent):
        async def liveness_check(self) -> bool:
            return self.event_loop_responsive()

        async def readiness_check(self) -> bool:
            return bool(await self.db.ping())  # type: ignore[attr-defined]

    h = harness(Probed)
    assert await h.live() is True
    assert await h.ready() is False
    assert await harness(type("Default", (Agent,), {})).ready() is True


async def test_self_db_is_an_attribute_error(harness: type[Harness]) -> None:
    agent = await harness(type("Plain", (Agent,), {})).start()
    with pytest.raises(AttributeError):
        agent.db  # noqa: B018


async def test_event_loop_responsive_is_false_after_a_second_of_blocking() -> None:
    pulse = Pulse(asyncio.get_running_loop())
    assert pulse.responsive()
    pulse._due = time.monotonic() - 1.2
    assert not pulse.responsive()
    pulse.stop()


async def test_now_iso_and_generate_id_are_plain_calls(harness: type[Harness]) -> None:
    agent = await harness(type("Plain", (Agent,), {})).start()
    assert agent.now_iso() == "2026-01-05T12:00:00.000Z"
    ids = [agent.generate_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert {len(identity) for identity in ids} == {26}


def test_a_number_of_any_kind_is_sent_as_one_of_json() -> None:
    metrics = Metrics()
    metrics.gauge("price", Decimal("1.5"))
    metrics.histogram("share", Fraction(1, 4), buckets=[Fraction(1, 2), 1])
    metrics.counter("count")
    sent = json.loads(json.dumps(metrics.drain()))
    assert [sample["value"] for sample in sent] == [1.5, 0.25, 1]
    assert sent[1]["buckets"] == [0.5, 1]


async def test_metrics_are_visible_when_the_run_has_ended(harness: type[Harness]) -> None:
    class Gauges(Agent):
        async def setup(self) -> None:
            self.metrics.gauge("started", 1)

        async def run(self) -> None:
            self.metrics.gauge("uptime.percent", 99.5)
            self.metrics.gauge("up", 1, zone="eu")
            self.metrics.gauge("up", 0, zone="us")
            self.metrics.counter("checks")
            self.metrics.counter("checks", 2)
            self.metrics.histogram("latency", 0.25)
            raise ValueError("metrics of failed runs count too")

    h = harness(Gauges)
    with pytest.raises(ValueError, match="count too"):
        await h.run()
    assert (h.metrics["started"], h.metrics["uptime_percent"]) == (1, 99.5)
    assert (h.metrics["checks"], h.metrics["latency"]) == (3, [0.25])
    assert (h.metrics.of("up", zone="eu"), h.metrics.of("up", zone="us")) == (1, 0)
    agent = h.agent
    with pytest.raises(ValueError, match="go down"):
        agent.metrics.counter("checks", -1)
    with pytest.raises(ValueError, match="nan"):
        agent.metrics.gauge("up", float("nan"))


@pytest.mark.parametrize(
    ("name", "labels", "said"),
    [
        ("openclaw_up", {}, "does not begin with openclaw_"),
        ("x" * 129, {}, "at most 128"),
        ("up", {"agent": "other"}, "added by the supervisor"),
        ("up", {f"l{n}": "x" for n in range(9)}, "at most 8 labels"),
    ],
)
def test_a_metric_that_would_be_refused_is_refused_where_it_is_set(
    name: str, labels: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Metrics().gauge(name, 1, **labels)


@pytest.mark.parametrize("name", ["", "a b", "a..b", "a.*", "ä", "x" * 256, "agent.failed"])
async def test_an_event_that_would_be_refused_is_refused_where_it_is_emitted(
    harness: type[Harness], name: str
) -> None:
    agent = await harness(type("Plain", (Agent,), {})).start()
    with pytest.raises(ValueError, match="event"):
        await agent.emit(name)


def test_the_time_is_utc_to_the_millisecond_outside_of_a_harness() -> None:
    before = datetime.now(timezone.utc) - timedelta(milliseconds=1)
    text = Agent().now_iso()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert before <= parse_time(text) <= datetime.now(timezone.utc)
