from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from openclaw import (
    Agent,
    Completion,
    Event,
    Forbidden,
    StateTooLarge,
    VersionConflict,
    _values,
    on,
    slot_of,
)
from openclaw.testing import Harness, SimulatedCrash


class Keeper(Agent):
    """An agent that the tests make do things."""


async def keeper(harness: Any, **options: Any) -> tuple[Harness, Any]:
    h = harness(Keeper, **options)
    return h, await h.start()


@pytest.mark.parametrize(
    "value",
    [
        {1, 2, 3},
        {"a", ("b", 1)},
        frozenset(),
        (1, "x", ()),
        b"\x00\x01\xff",
        datetime(2026, 1, 5, 12, 0, 0, 1),
        datetime(2026, 1, 5, 12, tzinfo=timezone(timedelta(hours=1))),
        Decimal("1.10"),
        {"$set": [1]},
        {"$set": 1, "other": {2}},
        {"$dict": {"$tuple": []}},
        {"$schema": "x"},
        {"deep": [{"ids": {"a"}}, None, True, 2**53 + 1, 0.1, "ü ☃ 𝄞"]},
        [],
        None,
    ],
)
async def test_values_survive_with_their_types(harness: Any, value: Any) -> None:
    h, agent = await keeper(harness)
    await agent.state.set("v", value)
    found = await agent.state.get("v", "missing")
    assert found == value
    expected = set if isinstance(value, frozenset) else type(value)
    assert type(found) is expected
    assert h.state["v"] == value


def test_the_tags_are_those_of_the_protocol() -> None:
    value = {"s": {"b", "a"}, "t": (1,), "b": b"\x00\x01\xff", "d": Decimal("1.10"), "$set": 1}
    assert _values.encode(value).decode() == (
        '{"$dict":{"s":{"$set":["a","b"]},"t":{"$tuple":[1]},"b":{"$bytes":"AAH/"},'
        '"d":{"$decimal":"1.10"},"$set":1}}'
    )


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ({1: "x"}, TypeError, "value has the key 1"),
        ({"a": [object()]}, TypeError, r"value\['a'\]\[0\] is a object"),
        (float("nan"), ValueError, "NaN|nan|Out of range"),
        ({"x": float("inf")}, ValueError, "inf|Out of range"),
        ("\ud800", ValueError, "surrogate"),
    ],
)
async def test_what_cannot_be_stored_is_refused_with_its_place(
    harness: Any, value: Any, error: type[Exception], text: str
) -> None:
    _, agent = await keeper(harness)
    with pytest.raises(error, match=text):
        await agent.state.set("v", value)


def test_nesting_without_end_is_refused() -> None:
    value: Any = []
    value.append(value)
    with pytest.raises(ValueError, match="deeper"):
        _values.encode(value)


async def test_get_returns_a_fresh_copy_each_time(harness: Any) -> None:
    _, agent = await keeper(harness)
    await agent.state.set("list", [1])
    first = await agent.state.get("list")
    first.append(2)
    assert await agent.state.get("list") == [1]


async def test_a_mutable_default_is_never_shared(harness: Any) -> None:
    _, agent = await keeper(harness)
    default: list[int] = []
    first = await agent.state.get("missing", default)
    first.append(1)
    assert default == []
    assert await agent.state.get("missing", default) == []
    assert await agent.state.get("missing") is None


async def test_update_is_atomic_between_tasks(harness: Any) -> None:
    _, agent = await keeper(harness)

    async def slowly(value: int) -> int:
        await asyncio.sleep(0)
        return value + 1

    await asyncio.gather(*(agent.state.update("n", slowly, 0) for _ in range(16)))
    assert await agent.state.get("n") == 16
    assert await agent.state.update("n", lambda n: n + 1) == 17


async def test_if_version_refuses_a_lost_race(harness: Any) -> None:
    _, agent = await keeper(harness)
    await agent.state.set("k", 1, if_version=0)
    value, version = await agent.state.get_versioned("k")
    await agent.state.set("k", 2)
    with pytest.raises(VersionConflict):
        await agent.state.set("k", value + 1, if_version=version)
    with pytest.raises(VersionConflict):
        await agent.state.set("k", 3, if_version=0)


async def test_a_conflict_in_a_handler_is_tried_again_as_a_whole(harness: Any) -> None:
    class Counter(Agent):
        @on("x")
        async def got(self, event: Event) -> None:
            await self.state.update("n", lambda n: n + 1, 0)
            if event.attempt == 1:
                h.state["n"] = 10

    h = harness(Counter)
    await h.deliver("x")
    assert h.state["n"] == 11
    assert [type(failure) for failure in h.failures] == [VersionConflict]


async def test_a_transaction_is_all_or_nothing(harness: Any) -> None:
    h, agent = await keeper(harness)
    await agent.state.set("old", 1)
    async with agent.state.transaction() as tx:
        tx.set("a", {1})
        tx.delete("old")
        tx.emit("changed", {"n": 1})
        assert await tx.get("a") == {1}
        assert await tx.get("old", "gone") == "gone"
        assert "a" not in h.state
    assert dict(h.state) == {"a": {1}}
    assert [event.name for event in h.emitted] == ["changed"]
    with pytest.raises(KeyError):
        async with agent.state.transaction() as tx:
            tx.set("b", 1)
            raise KeyError
    with pytest.raises(VersionConflict):
        async with agent.state.transaction() as tx:
            tx.set("c", 1)
            tx.set("a", 1, if_version=99)
            tx.emit("never")
    assert dict(h.state) == {"a": {1}}
    assert len(h.emitted) == 1


async def test_a_key_with_a_time_to_live_goes_when_it_is_over(harness: Any) -> None:
    h, agent = await keeper(harness)
    await agent.state.set("k", 1, ttl="1h")
    await agent.state.set("s", 2, ttl=60)
    await h.advance("59m")
    assert (await agent.state.get("k"), await agent.state.get("s")) == (1, None)
    await h.advance("1m")
    assert await agent.state.get("k", "gone") == "gone"
    assert await agent.state.keys() == []


async def test_keys_and_items_by_prefix(harness: Any) -> None:
    _, agent = await keeper(harness)
    for key in ("b/1", "a/2", "a/1", "ä ?#%"):
        await agent.state.set(key, key)
    assert await agent.state.keys("a/") == ["a/1", "a/2"]
    assert await agent.state.items("b") == {"b/1": "b/1"}
    assert await agent.state.get("ä ?#%") == "ä ?#%"
    await agent.state.delete("a/1")
    await agent.state.delete("missing")
    assert await agent.state.keys("a/") == ["a/2"]


async def test_a_state_over_its_limit_is_refused_and_shrinking_is_not(harness: Any) -> None:
    h, agent = await keeper(harness)
    h.limit_state(100)
    await agent.state.set("k", "x" * 80)
    with pytest.raises(StateTooLarge, match="limit is 100"):
        await agent.state.set("j", "x" * 80)
    await agent.state.set("k", "x")


async def test_read_from_is_a_mapping_without_await(harness: Any) -> None:
    h, agent = await keeper(harness)
    h.state_of("analyzer")["latest"] = {"score": 1, "ids": {1}}
    other = agent.state.read_from("analyzer")
    assert other.get("latest", {}) == {"score": 1, "ids": {1}}
    assert other.get("missing", []) == []
    assert other["latest"]["score"] == 1
    assert list(other) == ["latest"]
    with pytest.raises(TypeError):
        other["latest"] = 1
    with pytest.raises(TypeError):
        del other["latest"]
    other.get("latest")["score"] = 99
    assert other["latest"]["score"] == 1


async def test_read_from_is_one_version_and_may_be_awaited(harness: Any) -> None:
    h, agent = await keeper(harness)
    h.state_of("analyzer")["a"] = 1
    snapshot = await agent.state.read_from("analyzer")
    h.state_of("analyzer")["a"] = 2
    assert (snapshot["a"], snapshot.version) == (1, 1)
    assert agent.state.read_from("analyzer").get("a") == 2


async def test_read_from_an_unknown_agent_is_empty(harness: Any) -> None:
    _, agent = await keeper(harness)
    assert dict(agent.state.read_from("nobody")) == {}


async def test_read_from_needs_the_right(harness: Any) -> None:
    _, agent = await keeper(harness, grants=())
    with pytest.raises(Forbidden):
        agent.state.read_from("analyzer").get("x")


async def test_shared_state_is_seen_by_all_and_missing_is_none(harness: Any) -> None:
    class Writer(Agent):
        async def run(self) -> None:
            await self.shared_state.set("threat_level", {"high"})

    class Reader(Agent):
        async def run(self) -> Any:
            return [
                await self.shared_state.get("x"),
                list(await self.shared_state.get("threat_level")),
            ]

    h = harness(Writer, Reader)
    await h.run()
    assert await h["reader"].run() == [None, ["high"]]
    assert h.shared["threat_level"] == {"high"}


async def test_shared_state_needs_the_right(harness: Any) -> None:
    _, agent = await keeper(harness, grants=())
    with pytest.raises(Forbidden):
        await agent.shared_state.set("k", 1)


async def test_a_crash_in_a_handler_counts_nothing_twice(harness: Any) -> None:
    class Counter(Agent):
        @on("x")
        async def got(self, event: Event) -> None:
            await self.state.update("n", lambda n: n + 1, 0)
            await self.state.set("last", event.id)
            await self.emit("counted")

    for point, count in (("state.set", 1), ("state.set", 2), ("emit", 1), ("done", 1)):
        h = harness(Counter)
        h.crash_after(point, count)
        with pytest.raises(SimulatedCrash):
            await h.deliver("x")
        await h.restart()
        assert (h.state["n"], [e.name for e in h.emitted]) == (1, ["x", "counted"])


async def test_a_completion_is_stored_and_emitted_as_its_text(harness: Any) -> None:
    h, agent = await keeper(harness)
    completion = Completion("all well", model="m")
    await agent.state.set("summary", {"text": completion})
    await agent.emit("summarised", {"summary": completion})
    assert type((await agent.state.get("summary"))["text"]) is str
    assert h.emitted[0].data == {"summary": "all well"}


def test_slots_of_keys_are_fixed() -> None:
    assert [slot_of(key) for key in ("", "a", "source-1", "ü")] == [20, 10, 56, 36]
    assert all(0 <= slot_of(str(n)) < 64 for n in range(1000))


@pytest.mark.parametrize(
    ("key", "error"),
    [("", TypeError), (1, TypeError), ("a\nb", ValueError), ("ü" * 257, ValueError)],
)
async def test_a_key_that_is_none_is_refused_where_it_is_written(
    harness: Any, key: Any, error: type[Exception]
) -> None:
    class Writer(Agent):
        @on("direct")
        async def direct(self, event: Event) -> None:
            with pytest.raises(error):
                await self.state.set(key, 1)
            await self.state.set("well", True)

        @on("grouped")
        async def grouped(self, event: Event) -> None:
            async with self.state.transaction() as tx:
                with pytest.raises(error):
                    tx.set(key, 1)

    h = harness(Writer)
    await h.deliver("direct")
    await h.deliver("grouped")
    assert dict(h.state) == {"well": True}


async def test_a_transaction_in_a_handler_keeps_the_condition_of_an_update_before_it(
    harness: Any,
) -> None:
    class Racer(Agent):
        async def run(self) -> None:
            await self.state.set("n", 10)

        @on("x")
        async def got(self, event: Event) -> None:
            n = await self.state.update("n", lambda n: n + 1, 0)
            if event.attempt == 1:
                h.state["n"] = 10
            async with self.state.transaction() as tx:
                tx.set("n", n + 1)

    h = harness(Racer)
    await h.deliver("x")
    assert h.state["n"] == 12
