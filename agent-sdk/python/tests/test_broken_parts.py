"""An agent never goes on deaf: a part that breaks is mended, or the process ends with code 1."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conformance._agent_process import World
from conformance._http import Answer, Request
from conformance._patience import within
from conformance._store import problem
from openclaw._address import Address, Identity
from openclaw._link import SocketLink

ROOT = Path(__file__).parents[1]
AGENT = ROOT.parent / "conformance" / "agent.py"


def world_of(path: Path) -> World:
    return World(["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "openclaw", "run", str(path)])


async def test_work_that_cannot_be_begun_ends_the_process() -> None:
    world = world_of(AGENT)
    async with world:
        supervisor = await world.ready()
        await supervisor.submit("event", [], event="no event")
        code = await world.exit_code()
    assert code == 1
    assert b"asking for work ended" in world.output


async def test_a_hello_that_breaks_the_package_ends_the_process() -> None:
    world = world_of(AGENT)
    world.supervisor.extra_fields = {"limits": "none"}
    async with world:
        await world.launch()
        code = await world.exit_code()
    assert code == 1
    assert b"looking for the supervisor ended" in world.output


async def test_work_that_can_be_reported_neither_as_done_nor_as_failed_ends_the_process() -> None:
    world = world_of(AGENT)
    async with world:
        supervisor = await world.ready()
        supervisor._done = lambda _work, _body: problem(500, "internal")
        await supervisor.submit("event", [])
        code = await world.exit_code()
    assert code == 1
    assert b"doing a piece of work ended" in world.output


async def test_a_failure_is_reported_again_until_the_disk_has_room() -> None:
    world = world_of(AGENT)
    refusals = [problem(503, "unavailable", retryable=True, reason="no_space")] * 3
    async with world:
        supervisor = await world.ready()
        accept = supervisor._done

        def done(work: str, body: dict[str, Any]) -> Answer:
            return refusals.pop() if refusals else accept(work, body)

        supervisor._done = done
        work = await supervisor.submit("event", [])
        outcome = await supervisor.done(work, 30)
        assert (outcome["ok"], outcome["error"]["type"]) == (False, "unavailable")
        assert refusals == []
        await supervisor.done(await supervisor.submit("event", []))


async def test_a_control_stream_without_sense_is_opened_again() -> None:
    world = world_of(AGENT)
    http = world.supervisor._http
    listen, nonsense = http._stream, [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n\xb2\r\n"]

    async def stream(request: Request, writer: asyncio.StreamWriter) -> None:
        if not nonsense:
            await listen(request, writer)
            return
        writer.write(nonsense.pop())
        await writer.drain()

    http._stream = stream
    async with world:
        supervisor = await world.ready()
        identity = await supervisor.say("cancel", work="w_0", attempt=1)
        assert (await supervisor.answer(identity))["status"] == "done"
    assert world.output.count(b"the control stream makes no sense") == 2


async def test_a_control_line_that_cannot_be_carried_out_is_answered() -> None:
    world = world_of(AGENT)
    async with world:
        supervisor = await world.ready()
        identity = await supervisor.say("cancel", work=["w_0"])
        answer = await supervisor.answer(identity)
        assert answer["status"] == "failed"
        assert "TypeError" in answer["message"]


async def test_a_poll_that_is_never_answered_leads_to_hello(tmp_path: Path) -> None:
    path = tmp_path / "impatient.py"
    constant = "from openclaw import _worker\n_worker.POLL_GRACE_SECONDS = 0.3\n"
    path.write_text(constant + AGENT.read_text())
    world = world_of(path)
    supervisor = world.supervisor
    supervisor.extra_fields = {"limits": {"wait_s": 1, "setup_ms": 10_000, "stop_ms": 5000}}
    answer = supervisor._work

    async def forget(request: Request) -> Answer:
        supervisor._work = answer
        await answer(request)
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nothing ends this wait")

    async with world:
        supervisor._work = forget
        work = await supervisor.submit("event", [{"op": "add", "key": "count", "by": 1}])
        await world.ready()
        assert (await supervisor.done(work, 30))["attempt"] == 2
    assert supervisor.state.value("count") == 1


async def test_a_hello_that_overtakes_the_answer_to_ready_says_ready_too() -> None:
    world = world_of(AGENT)
    supervisor = world.supervisor
    route, late = supervisor._route, asyncio.Event()
    readies: list[str] = []

    async def delay_first(request: Request) -> Answer:
        if request.path == "/v1/ready":
            readies.append(request.headers["openclaw-session"])
            if len(readies) == 1:
                # The stream ends, and the session is not known when it is opened again.
                supervisor.sessions.clear()
                supervisor._lines.put_nowait(None)
                await late.wait()
        return await route(request)

    supervisor._route = delay_first
    async with world:
        await world.launch()
        await supervisor.wait_for("a second hello", lambda: len(supervisor.hellos) == 2, 10)
        await supervisor.wait_for("ready in its session", lambda: len(readies) == 2, 10)
        late.set()
        await supervisor.done(await supervisor.submit("event", []))
    assert readies[0] != readies[1]


def a_link(on_connected: Callable[[], Any]) -> SocketLink:
    identity = Identity("a", "a-0-1", 0, 1, "token")
    link = SocketLink(Address("/nowhere/agent.sock", "", 0), identity)
    link.on_connected = on_connected
    return link


async def test_what_is_lost_while_hello_is_on_its_way_is_told_by_another() -> None:
    hellos = 0

    async def hello() -> None:
        nonlocal hellos
        hellos += 1
        if hellos == 1:
            link.lost()

    link = a_link(hello)
    link.start()
    await within(10, link._up.wait())
    assert hellos == 2
    await link.close()


async def test_the_end_of_the_search_for_the_supervisor_is_told() -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def hello() -> None:
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    link = a_link(hello)
    link.on_broken = lambda what, error: told.put_nowait(f"{what}: {error}")
    link.start()
    assert await within(10, told.get()) == "looking for the supervisor: None"
    await link.close()
