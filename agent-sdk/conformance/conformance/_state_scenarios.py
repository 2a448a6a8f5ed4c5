"""What a client has to do with state, one scenario each."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

from ._agent_process import World
from ._scenario import expect, reads_of, scenario
from ._supervisor import MAX_VALUE_BYTES

EXACT = (
    '{"text":"ü ☃ 𝄞 \\"quoted\\" \\\\ line\\nend","big":9007199254740993,"null":null,"deep":[[[[[[1]]]]]],'
    '"set":{"$set":["a","b"]},"tuple":{"$tuple":[1,{"$tuple":[]}]},"bytes":{"$bytes":"AAH/"},'
    '"when":{"$datetime":"2026-11-21T05:00:00.000001+00:00"},"price":{"$decimal":"1.10"},'
    '"not a tag":{"$dict":{"$set":1}},"plain":{"$schema":"x"},"empty":{"$set":[]}}'
)


@scenario
async def tagged_values_survive_exactly(world: World) -> None:
    supervisor = await world.ready()
    supervisor.state.put("source", EXACT.encode())
    work = await supervisor.submit("run", [{"op": "copy", "from": "source", "to": "target"}])
    done = await supervisor.done(work)
    expect(done["ok"], f"the copy succeeded: {done.get('error')}")
    copied = supervisor.state.values["target"][0]
    expect(_exact(copied) == _exact(EXACT), f"equal values, not {copied.decode()}")


@scenario
async def keys_are_one_encoded_segment(world: World) -> None:
    supervisor = await world.ready()
    key = "a/b c%ü?#"
    work = await supervisor.submit("run", [{"op": "set", "key": key, "value": 1}])
    await supervisor.done(work)
    expect(supervisor.state.value(key) == 1, f"the key arrived: {list(supervisor.state.values)}")


@scenario
async def a_large_value_makes_the_round_trip(world: World) -> None:
    supervisor = await world.ready()
    value = json.dumps([{"n": n, "text": "x" * 50} for n in range(8000)]).encode()
    supervisor.state.put("source", value)
    work = await supervisor.submit("run", [{"op": "copy", "from": "source", "to": "target"}])
    done = await supervisor.done(work)
    expect(done["ok"], f"the copy succeeded: {done.get('error')}")
    expect(supervisor.state.value("target") == json.loads(value), "the values are equal")


@scenario
async def an_update_repeats_after_a_version_conflict(world: World) -> None:
    supervisor = await world.ready()
    supervisor.state.put("count", b"1")
    supervisor.max_concurrency = 1
    steps = [{"op": "add", "key": "count", "by": 1, "during": "hold", "hold": "go"}]
    work = await supervisor.submit("run", steps)
    await supervisor.wait_for("the read", lambda: reads_of(supervisor, "go"), 10)
    supervisor.state.put("count", b"10")
    supervisor.state.put("go", b"true")
    done = await supervisor.done(work)
    expect(done["ok"], f"the update succeeded: {done.get('error')}")
    expect(supervisor.state.value("count") == 11, f"11, not {supervisor.state.value('count')}")


@scenario
async def a_version_conflict_is_an_error_of_its_own(world: World) -> None:
    supervisor = await world.ready()
    supervisor.state.put("key", b"1")
    work = await supervisor.submit(
        "run", [{"op": "set", "key": "key", "value": 2, "if_version": 99, "catch": True}]
    )
    done = await supervisor.done(work)
    expect(done.get("result") == ["version_conflict"], f"it is recognised, not {done}")
    expect(supervisor.state.value("key") == 1, "nothing was written")


@scenario
async def state_too_large_is_an_error_of_its_own(world: World) -> None:
    supervisor = await world.ready()
    step = {"op": "fill", "key": "big", "bytes": MAX_VALUE_BYTES + 1, "catch": True}
    done = await supervisor.done(await supervisor.submit("run", [step]))
    expect(done.get("result") == ["state_too_large"], f"it is recognised, not {done}")


@scenario
async def an_outcome_refused_for_its_size_is_reported_as_a_failure(world: World) -> None:
    supervisor = await world.ready()
    step = {"op": "fill", "key": "big", "bytes": MAX_VALUE_BYTES + 1}
    done = await supervisor.done(await supervisor.submit("event", [step]))
    error = done.get("error") or {}
    expect(not done["ok"] and error.get("type") == "state_too_large", f"by its code: {done}")
    expect(error["retryable"] is False, "it is not tried again")
    await supervisor.done(await supervisor.submit("run", []))


@scenario
async def an_update_whose_answer_was_lost_counts_once(world: World) -> None:
    supervisor = await world.ready()
    supervisor.state.put("count", b"10")
    supervisor.drop_writes = 1
    work = await supervisor.submit("run", [{"op": "add", "key": "count", "by": 1}])
    done = await supervisor.done(work)
    expect(done["ok"], f"the run did not fail: {done.get('error')}")
    expect(supervisor.state.value("count") == 11, f"once, not {supervisor.state.value('count')}")


@scenario
async def an_event_whose_answer_was_lost_is_sent_again_under_its_id(world: World) -> None:
    supervisor = await world.ready()
    supervisor.drop_writes = 1
    work = await supervisor.submit("run", [{"op": "emit", "name": "said", "data": 1}])
    done = await supervisor.done(work)
    expect(done["ok"], f"the run did not fail: {done.get('error')}")
    expect(len(supervisor.events) == 1, f"stored once: {supervisor.events}")
    sent = [r for r in supervisor.requests if r.path == "/v1/events"]
    expect(len(sent) >= 2, "it was sent again")


@scenario
async def a_rate_limit_delays_and_never_fails(world: World) -> None:
    supervisor = await world.ready()
    supervisor.rate_limited_writes = 2
    begun = time.monotonic()
    work = await supervisor.submit("run", [{"op": "set", "key": "slow", "value": 1}])
    done = await supervisor.done(work)
    expect(done["ok"], f"the author sees no error: {done.get('error')}")
    expect(supervisor.state.value("slow") == 1, "the write arrived")
    expect(time.monotonic() - begun >= 0.3, "retry_after_ms was waited for, each time")


def _exact(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal)
