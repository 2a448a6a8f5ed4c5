from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from openclaw import Agent, ConnectError, Event, LLMError, Schedule, on
from openclaw._slots import next_slot
from openclaw.testing import SimulatedCrash

UTC = timezone.utc


def clock_agent(schedule: Schedule) -> Any:
    class Clock(Agent):
        async def run(self) -> None:
            await self.state.update("at", lambda at: [*at, self.now_iso()[:16]], [])

    Clock.schedule = schedule
    return Clock


async def test_advance_fires_cron_in_its_time_zone(harness: Any) -> None:
    h = harness(clock_agent(Schedule.cron("30 2 * * *", timezone="Europe/Berlin")))
    await h.advance("2d")
    assert h.state["at"] == ["2026-01-06T01:30", "2026-01-07T01:30"]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "slots"),
    [
        ("0 */2 * * *", None, "2026-01-05T12:30", ["2026-01-05T14:00", "2026-01-05T16:00"]),
        (
            "*/20 9-10 * * mon-fri",
            None,
            "2026-01-09T10:40",
            ["2026-01-12T09:00", "2026-01-12T09:20"],
        ),
        ("0 0 13 * fri", None, "2026-02-10T00:00", ["2026-02-13T00:00", "2026-02-20T00:00"]),
        ("0 12 29 feb *", None, "2026-01-01T00:00", ["2028-02-29T12:00"]),
        ("15 30 4 * * *", None, "2026-01-01T00:00", ["2026-01-01T04:30"]),
        ("@weekly", None, "2026-01-05T00:00", ["2026-01-11T00:00"]),
        # The clock goes from 2:00 to 3:00: the slot that is not there runs at the next minute.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00",
            ["2026-03-29T01:00", "2026-03-30T00:30"],
        ),
        # It goes from 3:00 back to 2:00: the slot that is there twice runs once.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            ["2026-10-25T00:30", "2026-10-26T01:30"],
        ),
    ],
)
def test_slots(cron: str, zone: str | None, after: str, slots: list[str]) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    schedule = Schedule.cron(cron, timezone=zone)
    for slot in slots:
        moment = next_slot(schedule, moment, moment)
        assert moment.strftime("%Y-%m-%dT%H:%M") == slot


async def test_the_start_of_the_clock_may_be_given(harness: Any) -> None:
    start = datetime(2026, 7, 1, 8, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    h = harness(clock_agent(Schedule.daily(hour=9, timezone="Europe/Berlin")), start=start)
    await h.advance("2h")
    assert h.state["at"] == ["2026-07-01T07:00"]
    assert h.now == datetime(2026, 7, 1, 8, 0, tzinfo=UTC)


async def test_advance_goes_on_after_a_failed_run_and_then_raises(harness: Any) -> None:
    class Sometimes(Agent):
        schedule = Schedule.every(minutes=1)

        async def run(self) -> None:
            n = await self.state.update("n", lambda n: n + 1, 0)
            if n == 2:
                raise ValueError("the second")

    h = harness(Sometimes)
    with pytest.raises(ValueError, match="the second"):
        await h.advance("5m")
    assert h.state["n"] == 6


async def test_several_agents_have_a_state_each_and_one_bus(harness: Any) -> None:
    class Ping(Agent):
        async def run(self) -> None:
            await self.emit("ping", 1)

        @on("pong")
        async def back(self, event: Event) -> None:
            await self.state.set("pong", event.source)

    class Pong(Agent):
        @on("ping")
        async def got(self, event: Event) -> None:
            await self.state.set("ping", event.source)
            await self.emit("pong")

    h = harness(Ping, Pong)
    await h.run()
    assert (dict(h.state), dict(h["pong"].state)) == ({"pong": "pong"}, {"ping": "ping"})


async def test_agents_that_answer_each_other_for_ever_are_stopped(harness: Any) -> None:
    class Echo(Agent):
        @on("echo")
        async def got(self, event: Event) -> None:
            await self.emit("echo")

    with pytest.raises(AssertionError, match="32 times"):
        await harness(Echo).deliver("echo")


async def test_a_crashed_agent_does_nothing_more(harness: Any) -> None:
    class Worker(Agent):
        async def run(self) -> None:
            for n in range(5):
                await self.state.set(f"k{n}", n)

    h = harness(Worker)
    agent = await h.start()
    h.crash_after("state.set", 2)
    with pytest.raises(SimulatedCrash, match=r"state\.set"):
        await h.run()
    assert sorted(h.state) == ["k0", "k1"]
    with pytest.raises(SimulatedCrash, match="dead"):
        await agent.state.set("late", 1)
    assert await h.restart() is not agent
    await h.run()
    assert len(h.state) == 5


async def test_except_exception_does_not_survive_a_crash(harness: Any) -> None:
    class Stubborn(Agent):
        async def run(self) -> None:
            try:
                await self.emit("x")
            except Exception:
                await self.state.set("survived", True)

    h = harness(Stubborn)
    h.crash_after("emit")
    with pytest.raises(SimulatedCrash):
        await h.run()
    assert dict(h.state) == {}


async def test_a_request_without_a_route_fails_and_is_named(harness: Any) -> None:
    class Fetcher(Agent):
        async def run(self) -> str:
            try:
                await self.http.get("https://unknown.example/")
            except ConnectError as error:
                return str(error)
            return ""

    h = harness(Fetcher)
    assert "no route for GET https://unknown.example/" in await h.run()
    assert [request.url for request in h.http.unmatched] == ["https://unknown.example/"]
    h.http.unmatched.clear()


async def test_routes_give_answers_in_order_and_by_function(harness: Any) -> None:
    class Fetcher(Agent):
        async def run(self) -> list[Any]:
            texts = [(await self.http.get("https://a.example/x")).text for _ in range(3)]
            posted = await self.http.post("https://a.example/p", json={"n": 20})
            return [*texts, posted.json()]

    h = harness(Fetcher)
    h.http.get("https://a.example/*", "one", "two")
    h.http.post("https://a.example/p", lambda request: {"twice": request.json["n"] * 2})
    assert await h.run() == ["one", "two", "two", {"twice": 40}]


async def test_a_model_without_an_answer_says_what_to_do(harness: Any) -> None:
    class Thinker(Agent):
        async def run(self) -> str:
            return await self.llm.complete("why?")

    with pytest.raises(LLMError, match=r"h\.llm\.answer"):
        await harness(Thinker).run()


async def test_the_harness_is_a_context_that_tears_down(harness: Any) -> None:
    class Closing(Agent):
        async def teardown(self) -> None:
            await self.state.set("closed", True)

    async with harness(Closing) as h:
        assert dict(h.state) == {}
    assert h.state["closed"] is True


async def test_a_payload_reaches_the_run(harness: Any) -> None:
    class Payload(Agent):
        async def run(self) -> Any:
            return [self.trigger.kind, self.trigger.payload]

    assert await harness(Payload).run({"only": "web"}) == ["manual", {"only": "web"}]
