"""Reads are waited for without the event loop for a moment, and by it from then on."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conformance._agent_process import World
from conformance._patience import within
from openclaw import _short_reads
from openclaw._address import Address, Identity
from openclaw._link import SocketLink
from openclaw._state import State

ROOT = Path(__file__).parents[1]
SECONDS = 60
Serve = Callable[[socket.socket, bytes], None]


def answer(body: bytes) -> bytes:
    head = f'HTTP/1.1 200 OK\r\nETag: "7"\r\nContent-Length: {len(body)}\r\n\r\n'
    return head.encode() + body


def echo(stream: socket.socket, key: bytes) -> None:
    """Answer a read with the name of its key."""
    stream.sendall(answer(json.dumps(key.decode()).encode()))


class Peer:
    """A supervisor's socket served by threads, so that it answers while the event loop waits."""

    def __init__(self, path: str) -> None:
        self.path = path
        # How reads of some keys are served; the others get the name of their key.
        self.served: dict[bytes, Serve] = {}
        self.asked: list[bytes] = []
        self.ended = threading.Semaphore(0)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._streams: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def connections(self) -> int:
        return len(self._streams)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(SECONDS)
        self._listener.close()
        for stream in self._streams:
            with stream:
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self._streams.append(stream)
            thread = threading.Thread(target=self._serve, args=(stream,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, stream: socket.socket) -> None:
        buffer = b""
        try:
            while data := stream.recv(65_536):
                buffer += data
                while b"\r\n\r\n" in buffer:
                    head, _, buffer = buffer.partition(b"\r\n\r\n")
                    key = head.split(b" ")[1].rpartition(b"/")[2]
                    self.asked.append(key)
                    self.served.get(key, echo)(stream, key)
        except OSError:
            pass
        finally:
            self.ended.release()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(f"{folder}/s")
        yield peer
        peer.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for answers without the event loop for as long as a busy machine may take."""
    monkeypatch.setattr(_short_reads, "PATIENCE_SECONDS", SECONDS)


@asynccontextmanager
async def state_of(peer: Peer) -> Any:
    """Yield a state behind a link that is up, with the times that it said hello."""
    link = SocketLink(Address(peer.path, "", 0), Identity("a", "a-0-1", 0, 1, "token"))
    state: Any = State(link, "state", lambda _: None)
    state.hellos = 0

    async def hello() -> None:
        state.hellos += 1

    link.on_connected = hello
    link.start()
    await within(SECONDS, link._up.wait())
    try:
        yield state
    finally:
        await link.close()


def hold(peer: Peer, key: bytes) -> threading.Event:
    """Have reads of a key wait until the event is set."""
    release = threading.Event()

    def serve(stream: socket.socket, key: bytes) -> None:
        release.wait(SECONDS)
        echo(stream, key)

    peer.served[key] = serve
    return release


async def until_asked(peer: Peer, key: bytes) -> None:
    async def asked() -> None:
        while key not in peer.asked:
            await asyncio.sleep(0.001)

    await within(SECONDS, asked())


@pytest.mark.usefixtures("patient")
async def test_an_answer_that_comes_soon_is_there_before_the_loop_goes_on(peer: Peer) -> None:
    async with state_of(peer) as state:
        turns: list[int] = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        assert await state.get("first") == "first"
        assert turns == []
        peer.served[b"missing"] = lambda stream, _: stream.sendall(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 22\r\n\r\n" + b'{"code":"unknown_key"}'
        )
        assert await state.get("missing", "none") == "none"
        assert await state.get_versioned("second") == ("second", 7)
    assert (peer.connections, state.hellos) == (1, 1)


async def test_an_answer_that_comes_late_is_left_to_the_loop(peer: Peer) -> None:
    release = hold(peer, b"slow")
    async with state_of(peer) as state:
        slow = asyncio.create_task(state.get("slow"))
        await until_asked(peer, b"slow")
        # Meanwhile other reads go another way.
        assert await within(SECONDS, state.get("other")) == "other"
        assert not slow.done()
        release.set()
        assert await within(SECONDS, slow) == "slow"
        assert state.hellos == 1


async def test_a_supervisor_that_is_slow_is_not_waited_for_with_each_read(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_short_reads, "PATIENCE_SECONDS", 0)
    reads = _short_reads.ShortReads(Address(peer.path, "", 0), 1000)
    request = b"GET /v1/state/k HTTP/1.1\r\n\r\n"
    taken = [await within(SECONDS, reads.exchange(request)) is not None for _ in range(13)]
    assert [n for n, was_taken in enumerate(taken) if was_taken] == [0, 2, 6]
    monkeypatch.setattr(_short_reads, "PATIENCE_SECONDS", SECONDS)
    assert await reads.exchange(request) is None
    assert all([await reads.exchange(request) for _ in range(3)])
    reads.close_idle()


@pytest.mark.parametrize("patience", [0, SECONDS])
async def test_a_large_answer_is_read_whole(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr(_short_reads, "PATIENCE_SECONDS", patience)
    large = ["x" * 1000] * 5000
    peer.served[b"large"] = lambda stream, _: stream.sendall(answer(json.dumps(large).encode()))
    async with state_of(peer) as state:
        assert await within(SECONDS, state.get("large")) == large
        assert await within(SECONDS, state.get("small")) == "small"


@pytest.mark.parametrize("patience", [0, 0.00015, SECONDS])
async def test_many_tasks_at_once_get_each_its_own_answer(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr(_short_reads, "PATIENCE_SECONDS", patience)

    async def read(state: State, task: int) -> None:
        for n in range(50):
            assert await state.get(f"k-{task}-{n}") == f"k-{task}-{n}"

    async with state_of(peer) as state:
        await within(SECONDS, asyncio.gather(*(read(state, task) for task in range(20))))
    assert sorted(peer.asked) == sorted(b"k-%d-%d" % (t, n) for t in range(20) for n in range(50))


@pytest.mark.usefixtures("patient")
async def test_other_tasks_go_on_while_one_only_reads(peer: Peer) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with state_of(peer) as state:
        counting = asyncio.create_task(count_turns())
        reads = 0
        while turns < 10 and reads < 100_000:
            await state.get("k")
            reads += 1
        counting.cancel()
        assert turns >= 10


@pytest.mark.usefixtures("patient")
async def test_a_time_limit_ends_a_task_that_only_reads(peer: Peer) -> None:
    async def read(state: State) -> None:
        while True:
            await state.get("k")

    async with state_of(peer) as state:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read(state), 0.05)
        assert await state.get("k") == "k"


async def test_a_read_that_is_cancelled_leaves_nothing_to_the_next(peer: Peer) -> None:
    release = hold(peer, b"slow")
    async with state_of(peer) as state:
        reading = asyncio.create_task(state.get("slow"))
        await until_asked(peer, b"slow")
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        release.set()
        # The connection goes with the answer that nobody wants any more.
        assert await asyncio.to_thread(peer.ended.acquire, timeout=SECONDS)
        for key in ("a", "b", "c"):
            assert await within(SECONDS, state.get(key)) == key
        assert state.hellos == 1


@pytest.mark.parametrize("patience", [0, SECONDS])
@pytest.mark.parametrize(
    "sent", [b"", b'HTTP/1.1 200 OK\r\nETag: "7"\r\nContent-Length: 9\r\n\r\n"k']
)
async def test_a_read_whose_link_is_lost_is_made_again(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, sent: bytes, patience: float
) -> None:
    monkeypatch.setattr(_short_reads, "PATIENCE_SECONDS", patience)

    def cut(stream: socket.socket, key: bytes) -> None:
        del peer.served[key]
        stream.sendall(sent)
        stream.shutdown(socket.SHUT_RDWR)

    async with state_of(peer) as state:
        peer.served[b"k"] = cut
        assert await within(SECONDS, state.get("k")) == "k"
        assert peer.asked == [b"k", b"k"]
        # Hello was said again, since the supervisor may be another one.
        assert state.hellos == 2


@pytest.mark.usefixtures("patient")
async def test_a_connection_that_was_closed_while_idle_is_no_lost_link(peer: Peer) -> None:
    def close_after(stream: socket.socket, key: bytes) -> None:
        echo(stream, key)
        stream.shutdown(socket.SHUT_RDWR)

    peer.served[b"last"] = close_after
    async with state_of(peer) as state:
        assert await state.get("last") == "last"
        assert await asyncio.to_thread(peer.ended.acquire, timeout=SECONDS)
        assert await state.get("k") == "k"
        assert (peer.connections, state.hellos) == (2, 1)


@pytest.mark.usefixtures("patient")
async def test_a_request_that_a_socket_may_not_take_at_once_goes_another_way(peer: Peer) -> None:
    peer.served[b"state?prefix=" + b"x" * 1_000_000 + b"&after="] = lambda stream, _: (
        stream.sendall(answer(b'{"keys":[]}'))
    )
    async with state_of(peer) as state:
        assert await within(SECONDS, state.keys("x" * 1_000_000)) == []
        assert state.hellos == 1


async def test_an_answer_that_comes_after_the_close_leaves_no_connection(peer: Peer) -> None:
    release = hold(peer, b"slow")
    async with state_of(peer) as state:
        slow = asyncio.create_task(state.get("slow"))
        await until_asked(peer, b"slow")
    release.set()
    assert await within(SECONDS, slow) == "slow"
    assert await asyncio.to_thread(peer.ended.acquire, timeout=SECONDS)


READING = """
from openclaw import Agent

class Reading(Agent):
    async def setup(self):
        await self.state.set("k", 1)

    async def run(self):
        while True:
            assert await self.state.get("k") == 1
"""


async def test_a_run_that_only_reads_hears_the_supervisor(tmp_path: Path) -> None:
    path = tmp_path / "reading.py"
    path.write_text(READING)
    world = World(["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "openclaw", "run", str(path)])
    async with world:
        supervisor = await world.ready()
        work = await supervisor.submit("run", [])
        await supervisor.wait_for("work", lambda: work in supervisor.leased(), 30)
        identity = await supervisor.say("cancel", work=work, attempt=1)
        assert (await supervisor.answer(identity, 30))["status"] == "done"
        assert (await supervisor.done(work, 30))["ok"] is False
