"""Reads that the supervisor answers from memory, sooner than an event loop can wait for them.

    idle ──► sent ──► answered within PATIENCE_SECONDS ──► idle
              │
              └─► left to the event loop ──► answered ──► idle
                                        └──► cancelled, or the connection ended ──► closed

Waiting for an answer by the event loop costs several times what the answer takes. So this
connection is waited for right away, for a moment, and only what takes longer is left to the loop.
The loop is held up by one such moment at a time: TURN_SECONDS after the first of them the reader
lets it go round once.
"""

from __future__ import annotations

import asyncio
import select
import socket
from time import perf_counter

from ._address import Address
from ._connection import READ_BYTES, Stale
from ._wire import Reply, ReplyReader

PATIENCE_SECONDS = 0.00015
TURN_SECONDS = 0.0005
# A supervisor that is busy is not waited for again with each read.
MAX_PAUSE = 64
# As much as a socket surely takes at once.
MAX_REQUEST_BYTES = 16 * 1024
# What `select` can wait for; `poll` knows only whole milliseconds.
MAX_DESCRIPTOR = 1023


class ShortReads:
    """One connection of its own for reads, with one of them under way at a time."""

    def __init__(self, address: Address, max_body_bytes: int) -> None:
        # Only Unix sockets connect at once.
        self._path = address.path
        self._max_body_bytes = max_body_bytes
        self._stream: socket.socket | None = None
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._busy = False
        self._turn_begun = 0.0
        self._pause = 0
        self._reads_to_skip = 0

    async def exchange(self, request: bytes) -> Reply | None:
        """Make a GET and return its answer, or None if it has to go another way.

        Raises an OSError when the connection ends, and closes it when cancelled.
        """
        if self._busy or self._path is None or len(request) > MAX_REQUEST_BYTES:
            return None
        if self._reads_to_skip:
            self._reads_to_skip -= 1
            return None
        if self._turn_begun and perf_counter() - self._turn_begun > TURN_SECONDS:
            await asyncio.sleep(0)
            self._turn_begun = 0.0
            if self._busy or self._path is None:
                return None
        if not self._turn_begun:
            self._turn_begun = perf_counter()
            asyncio.get_running_loop().call_soon(self._end_turn)
        stream = self._stream
        if stream is not None:
            try:
                return await self._exchange(stream, request)
            except Stale:
                # A server may close what was idle; only a new connection's end is news.
                if self._path is None:
                    raise
        stream = self._stream = _connect(self._path)
        return None if stream is None else await self._exchange(stream, request)

    def close_idle(self) -> None:
        """Close the connection unless an answer is waited for."""
        if not self._busy:
            self._close()

    def close(self) -> None:
        """Close the connection once it is idle, and make no other."""
        self._path = None
        self.close_idle()

    def _end_turn(self) -> None:
        self._turn_begun = 0.0

    async def _exchange(self, stream: socket.socket, request: bytes) -> Reply:
        reader = ReplyReader(no_body=False, max_body_bytes=self._max_body_bytes)
        self._busy = True
        try:
            self._send(stream, request)
            reply = self._wait_briefly(stream, reader)
            if reply is None:
                self._pause = min(2 * self._pause + 1, MAX_PAUSE)
                self._reads_to_skip = self._pause
                reply = await self._wait(stream, reader)
            else:
                self._pause = 0
        except BaseException:
            self._close()
            raise
        finally:
            self._busy = False
        if not reader.keep_alive or self._path is None:
            self._close()
        return reply

    def _send(self, stream: socket.socket, request: bytes) -> None:
        try:
            sent = stream.send(request)
        except OSError as error:
            raise Stale("the connection was closed while idle") from error
        if sent < len(request):
            raise Stale("the connection takes no whole request")

    def _wait_briefly(self, stream: socket.socket, reader: ReplyReader) -> Reply | None:
        end = perf_counter() + PATIENCE_SECONDS
        left = PATIENCE_SECONDS
        while left > 0 and select.select((stream,), (), (), left)[0]:
            reply = self._receive(stream, reader)
            if reply is not None:
                return reply
            left = end - perf_counter()
        return None

    async def _wait(self, stream: socket.socket, reader: ReplyReader) -> Reply:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Reply] = loop.create_future()
        loop.add_reader(stream, self._readable, stream, reader, answered)
        try:
            return await answered
        finally:
            loop.remove_reader(stream)

    def _readable(
        self, stream: socket.socket, reader: ReplyReader, answered: asyncio.Future[Reply]
    ) -> None:
        if answered.done():
            return
        try:
            reply = self._receive(stream, reader)
        except Exception as error:
            answered.set_exception(error)
            return
        if reply is not None:
            answered.set_result(reply)

    def _receive(self, stream: socket.socket, reader: ReplyReader) -> Reply | None:
        try:
            size = stream.recv_into(self._buffer)
        except BlockingIOError:
            return None
        if size:
            return reader.feed(bytes(self._buffer[:size]))
        reply = reader.close()
        if reply is None and reader.started:
            raise ConnectionResetError("the connection ended in the middle of an answer")
        if reply is None:
            raise Stale("the connection ended before an answer")
        return reply

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _connect(path: str) -> socket.socket | None:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.setblocking(False)
        stream.connect(path)
    except OSError:
        # The way that waits for the supervisor says what is wrong.
        stream.close()
        return None
    if stream.fileno() > MAX_DESCRIPTOR:
        stream.close()
        return None
    return stream
