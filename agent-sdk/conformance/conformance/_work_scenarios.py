"""What a client has to do about its life and its work, one scenario each."""

from __future__ import annotations

import signal
import time

from ._agent_process import World
from ._scenario import a_moment, expect, reads_of, scenario
from ._supervisor import TOKEN


@scenario
async def hello_names_the_protocol_the_instance_and_the_subscriptions(world: World) -> None:
    supervisor = await world.ready()
    [hello] = supervisor.hellos
    expect(1 in hello["protocols"], "hello offers protocol 1")
    expect(hello.get("resume") is None, "the first hello has nothing to resume")
    subscribed = [entry["event"] for entry in hello.get("subscriptions", [])]
    expect("conformance" in subscribed, "the subscription to `conformance` is declared")


@scenario
async def the_order_is_hello_then_ready_then_work(world: World) -> None:
    supervisor = await world.ready()
    await supervisor.submit("run", [])
    await supervisor.wait_for("a done", lambda: supervisor.dones, 10)
    paths = [r.path for r in supervisor.requests if r.path != "/v1/control"]
    expect(paths[0] == "/v1/hello", "hello is the first request")
    expect(
        paths.index("/v1/hello") < paths.index("/v1/ready") < paths.index("/v1/work"),
        "work is asked for after ready",
    )


@scenario
async def every_request_carries_the_token_and_the_session(world: World) -> None:
    supervisor = await world.ready()
    work = await supervisor.submit("run", [{"op": "set", "key": "a", "value": 1}])
    await supervisor.done(work)
    for request in supervisor.requests:
        expect(request.headers.get("authorization") == f"Bearer {TOKEN}", "the token is sent")
        if request.path not in ("/v1/hello", "/v1/control"):
            known = request.headers.get("openclaw-session") in supervisor.sessions
            expect(known, f"{request.path} carries the session")


@scenario
async def a_run_writes_at_once_and_reports_its_result(world: World) -> None:
    supervisor = await world.ready()
    steps = [
        {"op": "set", "key": "early", "value": 1},
        {"op": "hold", "key": "go"},
        {"op": "get", "key": "early"},
    ]
    work = await supervisor.submit("run", steps)
    await supervisor.wait_for("a write before done", lambda: supervisor.state.value("early"), 5)
    expect(not supervisor.dones, "the write of a run does not wait for its end")
    supervisor.state.put("go", b"true")
    done = await supervisor.done(work)
    expect(done["ok"] is True, "the run succeeded")
    expect(done["attempt"] == 1, "the attempt is reported")
    expect(
        done.get("result") == [None, None, 1], f"the result is reported, not {done.get('result')}"
    )


@scenario
async def a_handler_sends_state_and_events_with_done(world: World) -> None:
    supervisor = await world.ready()
    steps = [
        {"op": "set", "key": "seen", "value": 1},
        {"op": "emit", "name": "checked", "data": {"n": 1}},
        {"op": "get", "key": "seen"},
        {"op": "hold", "key": "go"},
    ]
    work = await supervisor.submit("event", steps)
    await supervisor.wait_for("the work", lambda: reads_of(supervisor, "go"), 10)
    expect(supervisor.state.value("seen") is None, "the write waits for done")
    expect(not supervisor.events, "the event waits for done")
    supervisor.state.put("go", b"true")
    done = await supervisor.done(work)
    expect(done["ok"] is True, f"the handler reads its own write: {done.get('error')}")
    expect(supervisor.state.value("seen") == 1, "the write came with done")
    expect([e["name"] for e in supervisor.events] == ["checked"], "the event came with done")


@scenario
async def a_failed_handler_leaves_nothing_behind(world: World) -> None:
    supervisor = await world.ready()
    steps = [
        {"op": "set", "key": "half", "value": 1},
        {"op": "emit", "name": "half", "data": 1},
        {"op": "fail", "message": "broken on purpose"},
    ]
    work = await supervisor.submit("event", steps)
    done = await supervisor.done(work)
    expect(done["ok"] is False, "the failure is reported")
    expect("broken on purpose" in done["error"]["message"], "with its message")
    expect(done["error"].get("type"), "with its type")
    expect(supervisor.state.value("half") is None and not supervisor.events, "nothing was kept")


@scenario
async def done_is_repeated_when_its_answer_is_lost(world: World) -> None:
    supervisor = await world.ready()
    supervisor.drop_dones = 1
    steps = [{"op": "add", "key": "count", "by": 1}, {"op": "emit", "name": "counted", "data": 1}]
    work = await supervisor.submit("event", steps)
    await supervisor.done(work)
    path = f"/v1/work/{work}/done"

    def repeats() -> bool:
        return sum(r.path == path for r in supervisor.requests) >= 2

    await supervisor.wait_for("a second done", repeats, 10)
    await supervisor.done(await supervisor.submit("event", []))
    expect(supervisor.state.value("count") == 1, "the count is one")
    expect(len(supervisor.events) == 1, "the event was sent once")


@scenario
async def work_goes_on_and_is_resumed_after_the_server_vanished(world: World) -> None:
    supervisor = await world.ready()
    steps = [{"op": "hold", "key": "go"}, {"op": "add", "key": "count", "by": 1}]
    work = await supervisor.submit("run", steps)
    await supervisor.wait_for("the work", lambda: reads_of(supervisor, "go"), 10)
    old = supervisor.hellos[-1]
    await supervisor.vanish()
    supervisor.state.put("go", b"true")
    await supervisor.come_back()
    await supervisor.wait_for("a second hello", lambda: len(supervisor.hellos) >= 2, 10)
    resume = supervisor.hellos[-1].get("resume")
    expect(old.get("resume") is None and resume, "the second hello resumes")
    running = (resume or {})["running"]
    expect(
        {"work": work, "attempt": 1}
        in [{"work": r["work"], "attempt": r["attempt"]} for r in running],
        f"what is under way is listed, not {running}",
    )
    done = await supervisor.done(work)
    expect(done["ok"] and supervisor.state.value("count") == 1, "the work ended well, once")
    await supervisor.wait_for("ready again", lambda: supervisor.ready, 5)
    await supervisor.done(await supervisor.submit("run", []))


@scenario
async def a_session_that_is_lost_between_hello_and_ready_is_followed_by_another(
    world: World,
) -> None:
    supervisor = await world.ready()
    await supervisor.vanish()
    supervisor.lose_readies = 1
    await supervisor.come_back()
    await supervisor.wait_for("ready again", lambda: supervisor.ready, 10)
    expect(len(supervisor.hellos) == 3, f"three hellos, not {len(supervisor.hellos)}")
    await supervisor.done(await supervisor.submit("run", []))


@scenario
async def a_write_waits_for_the_server_to_return(world: World) -> None:
    supervisor = await world.ready()
    work = await supervisor.submit(
        "run", [{"op": "sleep", "ms": 300}, {"op": "set", "key": "late", "value": 1}]
    )
    await supervisor.wait_for("the work", lambda: supervisor.leased(), 10)
    await supervisor.vanish()
    begun = time.monotonic()
    while time.monotonic() - begun < 0.6:
        await a_moment()
    await supervisor.come_back()
    done = await supervisor.done(work)
    expect(done["ok"], f"the run did not fail: {done.get('error')}")
    expect(supervisor.state.value("late") == 1, "the write arrived")


@scenario
async def work_that_was_lost_on_its_way_comes_again(world: World) -> None:
    supervisor = await world.ready()
    supervisor.drop_polls = 1
    work = await supervisor.submit("event", [{"op": "add", "key": "count", "by": 1}])
    done = await supervisor.done(work)
    expect(supervisor.hellos[-1].get("resume"), "a broken poll leads to hello with resume")
    expect(done["attempt"] == 2, f"the next attempt is done, not {done['attempt']}")
    expect(supervisor.state.value("count") == 1, "once")


@scenario
async def work_lost_on_a_poll_that_is_older_than_the_session_comes_again(world: World) -> None:
    world.supervisor.max_concurrency = 2
    supervisor = await world.ready()
    first = await supervisor.submit("run", [{"op": "hold", "key": "go"}])
    await supervisor.wait_for("the work", lambda: reads_of(supervisor, "go"), 10)
    # The next read is told to say hello; the poll stays open meanwhile.
    supervisor.sessions.clear()
    await supervisor.wait_for("a second hello", lambda: len(supervisor.hellos) >= 2, 10)
    supervisor.state.put("go", b"true")
    await supervisor.done(first)
    supervisor.drop_polls = 1
    lost = await supervisor.submit("event", [{"op": "add", "key": "count", "by": 1}])
    expect((await supervisor.done(lost))["attempt"] == 2, "the next attempt is done")
    expect(supervisor.state.value("count") == 1, "once")


@scenario
async def cancel_interrupts_the_attempt_and_is_reported(world: World) -> None:
    supervisor = await world.ready()
    work = await supervisor.submit("run", [{"op": "hold", "key": "never"}])
    await supervisor.wait_for("the work", lambda: reads_of(supervisor, "never"), 10)
    other = await supervisor.say("cancel", work=work, attempt=7, reason="another attempt")
    await supervisor.answer(other)
    expect(not supervisor.dones, "a cancel for another attempt is ignored")
    identity = await supervisor.say("cancel", work=work, attempt=1, reason="timeout")
    done = await supervisor.done(work)
    expect((await supervisor.answer(identity))["status"] == "done", "cancel is answered")
    expect(done["ok"] is False, "cancelled work is reported as failed")
    expect(done["error"]["type"] == "Cancelled", f"its type is Cancelled, not {done['error']}")


@scenario
async def a_work_timeout_is_kept_by_the_client(world: World) -> None:
    supervisor = await world.ready()
    work = await supervisor.submit("run", [{"op": "hold", "key": "never"}], timeout_ms=300)
    done = await supervisor.done(work, 5)
    expect(done["ok"] is False, "it failed")
    expect(done["error"]["type"] == "TimeoutError", f"as TimeoutError, not {done['error']['type']}")


@scenario
async def pause_stops_asking_and_resume_asks_again(world: World) -> None:
    supervisor = await world.ready()
    await supervisor.answer(await supervisor.say("pause"))
    work = await supervisor.submit("run", [])
    for _ in range(10):
        await a_moment()
    expect(not supervisor.dones, "a paused client does no new work")
    await supervisor.answer(await supervisor.say("resume"))
    await supervisor.done(work)


@scenario
async def drain_finishes_what_is_under_way_and_asks_for_no_more(world: World) -> None:
    supervisor = await world.ready()
    first = await supervisor.submit("run", [{"op": "hold", "key": "go"}])
    await supervisor.wait_for("the work", lambda: reads_of(supervisor, "go"), 10)
    identity = await supervisor.say("drain", timeout_ms=10_000)
    second = await supervisor.submit("run", [])
    for _ in range(10):
        await a_moment()
    expect(identity not in supervisor.answers, "drain is not answered while work is under way")
    supervisor.state.put("go", b"true")
    await supervisor.done(first)
    expect((await supervisor.answer(identity))["status"] == "done", "then it is answered")
    expect(second not in [d["work"] for d in supervisor.dones], "no new work was taken")
    await supervisor.answer(await supervisor.say("resume"))
    await supervisor.done(second)


@scenario
async def stop_finishes_work_tears_down_and_exits_0(world: World) -> None:
    supervisor = await world.ready()
    work = await supervisor.submit("run", [{"op": "hold", "key": "go"}])
    await supervisor.wait_for("the work", lambda: reads_of(supervisor, "go"), 10)
    await supervisor.say("stop", timeout_ms=5000)
    supervisor.state.put("go", b"true")
    expect(await world.exit_code() == 0, "the exit code is 0")
    expect((await supervisor.done(work))["ok"], "the work was finished and reported")
    expect(supervisor.state.value("torn_down") is True, "teardown ran")


@scenario
async def sigterm_means_stop(world: World) -> None:
    supervisor = await world.ready()
    world.signal(signal.SIGTERM)
    expect(await world.exit_code() == 0, "the exit code is 0")
    expect(supervisor.state.value("torn_down") is True, "teardown ran")


@scenario
async def stop_interrupts_work_that_would_not_end_in_time(world: World) -> None:
    supervisor = await world.ready()
    work = await supervisor.submit("run", [{"op": "hold", "key": "never"}])
    await supervisor.wait_for("the work", lambda: reads_of(supervisor, "never"), 10)
    await supervisor.say("stop", timeout_ms=1500)
    expect(await world.exit_code(3) == 0, "the exit code is 0")
    expect((await supervisor.done(work))["error"]["type"] == "Cancelled", "as Cancelled")


@scenario
async def a_probe_is_answered_within_its_time(world: World) -> None:
    supervisor = await world.ready()
    for probe in ("liveness", "readiness"):
        identity = await supervisor.say("probe", probe=probe, timeout_ms=1000)
        answer = await supervisor.answer(identity, 1.0)
        expect(answer["ok"] is True, f"{probe} is well: {answer}")


@scenario
async def a_blocked_agent_cannot_answer_a_probe(world: World) -> None:
    supervisor = await world.ready()
    work = await supervisor.submit(
        "run", [{"op": "get", "key": "begun"}, {"op": "block", "ms": 1500}]
    )
    await supervisor.wait_for("the block", lambda: reads_of(supervisor, "begun"), 10)
    for _ in range(5):
        await a_moment()
    begun = time.monotonic()
    identity = await supervisor.say("probe", probe="liveness", timeout_ms=5000)
    await supervisor.answer(identity, 5.0)
    expect(time.monotonic() - begun > 0.5, "a blocked event loop does not answer")
    await supervisor.done(work)


@scenario
async def an_unknown_control_kind_is_answered_unsupported(world: World) -> None:
    supervisor = await world.ready()
    answer = await supervisor.answer(await supervisor.say("dance", tempo=120))
    expect(answer["status"] == "unsupported", f"unsupported, not {answer}")
    await supervisor.done(await supervisor.submit("run", []))


@scenario
async def unknown_fields_are_ignored_everywhere(world: World) -> None:
    world.supervisor.extra_fields = {"novelty": {"deep": [1, 2]}, "x_other": None}
    supervisor = await world.ready()
    await supervisor.answer(await supervisor.say("pause", novelty=1))
    await supervisor.answer(await supervisor.say("resume", novelty=[]))
    done = await supervisor.done(await supervisor.submit("event", []))
    expect(done["ok"], "work with unknown fields is done")


@scenario
async def unknown_work_is_reported_unsupported(world: World) -> None:
    supervisor = await world.ready()
    done = await supervisor.done(await supervisor.submit("dream", []))
    expect(done["ok"] is False, "it is not done")
    expect(done["error"]["type"] == "unsupported", f"type unsupported, not {done['error']}")


@scenario
async def concurrency_is_what_hello_says(world: World) -> None:
    world.supervisor.max_concurrency = 3
    supervisor = await world.ready()
    works = [await supervisor.submit("run", [{"op": "hold", "key": "go"}]) for _ in range(4)]
    await supervisor.wait_for("three at once", lambda: len(supervisor.leased()) == 3, 10)
    supervisor.state.put("go", b"true")
    for work in works:
        expect((await supervisor.done(work))["ok"], "each ended well")
