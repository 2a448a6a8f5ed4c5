"""The agent's way to its supervisor: requests that outlive the supervisor's restart.

        up ──── connection refused or broken, session_lost ────► down
        ▲                                                          │ try again after
        └── hello (with resume) answered ◄── connected ◄───────────┘ 50 ms … 2 s

`call` waits while the link is down. The session's own hello goes through `exchange`, which does
not. Everything an author awaits ends in `call`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from ._address import Address, Identity
from ._background import OnBroken, watch
from ._connection import Connection, Stale, Unsent
from ._errors import Fenced, ProtocolError, from_problem
from ._short_reads import ShortReads
from ._wire import Reply

FIRST_DELAY = 0.05
LAST_DELAY = 2.0
MAX_BODY_BYTES = 256 * 1024 * 1024
# Of the 64 connections an agent has, the rest is for control, the poll, and reading aside.
MAX_CONNECTIONS = 32
# Idle ones beyond a handful only cost the supervisor descriptors.
MAX_IDLE = 8
MAX_WAITING_WRITES = 1000
POLL = "/v1/work?"
MAX_WAITING_BYTES = 64 * 1024 * 1024
_WAIT_AND_REPEAT = frozenset(("rate_limited", "backpressure", "unavailable"))


class Link(Protocol):
    """What carries requests of the protocol: the socket, or a harness in the same process."""

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make a request; raise the exception of an error answer."""

    def call_blocking(self, path: str) -> Reply:
        """Make a GET without the event loop; for reads that cannot be awaited."""


class SocketLink:
    """The link over the agent's socket."""

    def __init__(self, address: Address, identity: Identity) -> None:
        self._address = address
        self._fixed_head = (
            f" HTTP/1.1\r\nHost: openclaw\r\nAuthorization: Bearer {identity.token}\r\n"
        )
        self._idle: list[Connection] = []
        self._short_reads = ShortReads(address, MAX_BODY_BYTES)
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._waiting = _Gate(MAX_WAITING_WRITES, MAX_WAITING_BYTES)
        self._up = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._lost_again = False
        self._closed = False
        self.session: str | None = None
        self.on_connected: Callable[[], Awaitable[None]] | None = None
        self.on_nonsense: Callable[[Exception], None] = lambda _: None
        self.on_fatal: Callable[[ProtocolError], None] | None = None
        self.on_broken: OnBroken = lambda _what, _error: None

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make a request, through restarts and rate limits, until it has an answer."""
        if body is None:
            return await self._call(method, path, body, headers)
        async with self._waiting.hold(len(body)):
            return await self._call(method, path, body, headers)

    async def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make one request now; connection errors are the caller's."""
        parts = self._request(method, path, body, headers, session=self.session)
        # All that is asked for, except for work, the supervisor has in memory.
        if method == "GET" and not path.startswith(POLL):
            read = await self._short_reads.exchange(parts[0])
            if read is not None:
                return read
        async with self._slots:
            while True:
                connection = await self._connection()
                try:
                    reply = await connection.exchange(parts, max_body_bytes=MAX_BODY_BYTES)
                except Stale as stale:
                    # A server may close what was idle; only a new connection's end is news. But
                    # work may have been on its way, and then hello has to say that it never came.
                    lost_work = path.startswith(POLL) and not isinstance(stale, Unsent)
                    if connection.reused and not lost_work:
                        continue
                    raise
                self._give_back(connection)
                return reply

    def call_blocking(self, path: str) -> Reply:
        """Make a GET on a connection of its own, without the event loop."""
        from ._blocking import get

        # Without a session: while the loop is blocked nobody can say hello to a supervisor that
        # has restarted, and the token alone suffices.
        reply = get(self._address, b"".join(self._request("GET", path, None, None, session=None)))
        if reply.status >= 400:
            raise self._error(reply)
        return reply

    async def open_stream(
        self, path: str, limit: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a GET on a connection of its own and return it, for an answer without an end."""
        if self._address.path is not None:
            opening = asyncio.open_unix_connection(self._address.path, limit=limit)
        else:
            opening = asyncio.open_connection(self._address.host, self._address.port, limit=limit)
        reader, writer = await opening
        writer.writelines(self._request("GET", path, None, None, session=self.session))
        return reader, writer

    def start(self) -> None:
        """Begin to connect; calls wait until that has succeeded."""
        self.lost()

    def lost(self) -> None:
        """Note that the supervisor is away, and look for it until it is back."""
        self._up.clear()
        # A hello that is on its way may have been too early to tell of what is lost now.
        self._lost_again = True
        if self._closed or (self._reconnecting and not self._reconnecting.done()):
            return
        self._drop_idle()
        self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())
        search = "looking for the supervisor"
        watch(self._reconnecting, search, self.on_broken, lambda: not self._closed)

    async def close(self) -> None:
        """Close every connection; nothing is tried again."""
        self._closed = True
        if self._reconnecting:
            self._reconnecting.cancel()
        self._short_reads.close()
        self._drop_idle()

    async def _call(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> Reply:
        while True:
            while not self._up.is_set():
                await self._up.wait()
            session = self.session
            try:
                reply = await self.exchange(method, path, body, headers)
            except OSError:
                # One loss breaks many requests, and the first of them has seen to it. Not so a
                # poll: another request's hello may have gone out before work was on its way.
                if session == self.session or path.startswith(POLL):
                    self.lost()
                continue
            if reply.status < 400:
                return reply
            error = self._error(reply)
            if error.code == "session_lost":
                if session == self.session:
                    self.lost()
            elif error.code in _WAIT_AND_REPEAT and error.detail.get("reason") != "no_space":
                await asyncio.sleep((error.retry_after_ms or 250) / 1000)
            else:
                raise error

    async def _reconnect(self) -> None:
        delay = FIRST_DELAY
        while not self._closed:
            self._lost_again = False
            try:
                if self.on_connected:
                    await self.on_connected()
                if not self._lost_again:
                    self._up.set()
                    return
            except OSError:
                pass
            except ProtocolError as error:
                # The supervisor may also vanish, and another be there, between hello and ready.
                if not error.retryable and error.code != "session_lost":
                    self._fatal(error)
                    return
            except (ValueError, KeyError, TypeError) as error:
                # What answers is no supervisor, or one that is just starting.
                self.on_nonsense(error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_DELAY)

    def _error(self, reply: Reply) -> ProtocolError:
        try:
            problem = json.loads(reply.body)
        except ValueError:
            problem = {}
        error = from_problem(reply.status, problem if isinstance(problem, dict) else {})
        if isinstance(error, Fenced) or error.code == "unauthorized":
            self._fatal(error)
        return error

    def _fatal(self, error: ProtocolError) -> None:
        if self.on_fatal:
            self.on_fatal(error)

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        *,
        session: str | None,
    ) -> list[bytes]:
        head = f"{method} {path}{self._fixed_head}"
        if session:
            head += f"Openclaw-Session: {session}\r\n"
        if headers:
            for name, value in headers.items():
                head += f"{name}: {value}\r\n"
        if body is None:
            return [f"{head}\r\n".encode("ascii")]
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return [head.encode("ascii"), body]

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                connection.reused = True
                return connection
        return await connect(self._address)

    def _give_back(self, connection: Connection) -> None:
        if connection.closed or self._closed or len(self._idle) >= MAX_IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    def _drop_idle(self) -> None:
        self._short_reads.close_idle()
        while self._idle:
            self._idle.pop().close()


async def connect(address: Address) -> Connection:
    """Open a connection to the supervisor."""
    loop = asyncio.get_running_loop()
    if address.path is not None:
        _, connection = await loop.create_unix_connection(Connection, address.path)
    else:
        _, connection = await loop.create_connection(Connection, address.host, address.port)
    return connection


class _Gate:
    """Lets so many bodies of so many bytes in; the others wait in front of it, in order."""

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._count = asyncio.Semaphore(max_count)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._room = asyncio.Condition()

    def hold(self, size: int) -> _Held:
        return _Held(self, size)

    async def enter(self, size: int) -> None:
        await self._count.acquire()
        # One body may be larger than the bound: it then goes alone.
        if self._bytes and self._bytes + size > self._max_bytes:
            async with self._room:
                await self._room.wait_for(
                    lambda: not self._bytes or self._bytes + size <= self._max_bytes
                )
        self._bytes += size

    async def leave(self, size: int) -> None:
        self._bytes -= size
        self._count.release()
        if self._bytes + size > self._max_bytes // 2:
            async with self._room:
                self._room.notify_all()


class _Held:
    __slots__ = ("_gate", "_size")

    def __init__(self, gate: _Gate, size: int) -> None:
        self._gate = gate
        self._size = size

    async def __aenter__(self) -> None:
        await self._gate.enter(self._size)

    async def __aexit__(self, *_: Any) -> None:
        await self._gate.leave(self._size)
