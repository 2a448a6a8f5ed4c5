from __future__ import annotations

import json
from typing import Any

import pytest
from openclaw import Agent, ConfigError, Event, on
from openclaw._execution import pieces_of


def item(number: int, batch: str | None = None, hops: int = 0) -> dict[str, Any]:
    event = {"id": f"e{number}", "name": "row", "data": number, "hops": hops}
    fields = {"work": f"ev-{number}", "run": f"ev-{number}", "attempt": number, "kind": "event"}
    together = {} if batch is None else {"batch": batch}
    return {**fields, **together, "event": event, "traceparent": f"trace-{number}"}


def test_the_items_of_a_batch_become_one_piece_of_work() -> None:
    items = [item(1, "ba-1"), item(2), item(3, "ba-1", hops=2), item(4, "ba-4"), item(5, "ba-1")]
    first, single, last = pieces_of(items)
    assert [one["work"] for one in (first, single, last)] == ["ba-1", "ev-2", "ba-4"]
    assert [one["event"]["data"] for one in first["items"]] == [1, 3, 5]
    assert [one["attempt"] for one in (first, single, last)] == [1, 2, 1]
    assert first["traceparent"] == "trace-3", "that of the longest chain"
    assert single is items[1]


class Rows(Agent):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    @on("row", batch=True)
    async def all(self, events: list[Event]) -> None:
        self.seen.append([(event.data, event.attempt) for event in events])
        if events[0].data == 6:
            raise ValueError("no")
        await self.emit("counted", len(events))

    @on("row")
    async def each(self, event: Event) -> None:
        self.seen.append(event.data)


async def test_a_handler_gets_the_list_and_another_each_event(harness: Any) -> None:
    h = harness(Rows)
    [piece] = pieces_of([item(1, "ba-1"), item(2, "ba-1")])
    await h._first.perform(piece)
    assert h.agent.seen == [[(1, 1), (2, 2)], 1, 2]
    assert [event.data for event in h.emitted] == [2]


async def test_a_handler_of_batches_gets_a_single_event_as_a_list(harness: Any) -> None:
    h = harness(Rows)
    await h.deliver("row", 5)
    assert h.agent.seen == [[(5, 1)], 5]


async def test_a_batch_fails_as_one_and_leaves_nothing(harness: Any) -> None:
    h = harness(Rows)
    [piece] = pieces_of([item(6, "ba-6"), item(7, "ba-6")])
    with pytest.raises(ValueError, match="no"):
        await h._first.perform(piece)
    assert json.dumps(h.agent.seen) == "[[[6, 6], [7, 7]]]"
    assert h.emitted == []


def test_a_method_takes_lists_or_single_events() -> None:
    with pytest.raises(ConfigError, match="lists of events, or single ones"):

        class Both(Agent):
            @on("a")
            @on("b", batch=True)
            async def heard(self, event: Any) -> None: ...
