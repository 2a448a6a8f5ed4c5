"""One connection that carries one request at a time."""

from __future__ import annotations

import asyncio
from typing import Any

from ._wire import Reply, ReplyReader

READ_BYTES = 256 * 1024


class Stale(ConnectionError):
    """The connection ended before any byte of the answer."""


class Unsent(Stale):
    """It had ended before the request was sent."""


class Connection(asyncio.BufferedProtocol):
    """An HTTP/1.1 connection over whatever transport it was made with.

    It is read into a buffer of its own: without one the event loop allocates as much for each
    answer, which costs more than the answer.
    """

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._transport: Any = None
        self._reader: ReplyReader | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self.closed = False
        self.reused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; again after TLS has been put on top of it."""
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Feed the answer that is waited for; bytes nobody asked for end the connection."""
        if self._reader is None or self._waiter is None:
            self.close()
            return
        try:
            reply = self._reader.feed(bytes(self._buffer[:nbytes]))
        except ConnectionError as error:
            self._fail(error)
            return
        if reply is not None:
            self._succeed(reply)

    def eof_received(self) -> None:
        """Let the transport close itself; `connection_lost` does the rest."""

    def connection_lost(self, error: Exception | None) -> None:
        """End the answer if closing is how it ends, else fail it."""
        self.closed = True
        reader = self._reader
        if reader is None:
            return
        reply = reader.close()
        if reply is not None:
            self._succeed(reply)
        elif reader.started:
            self._fail(ConnectionResetError("the connection ended in the middle of an answer"))
        else:
            self._fail(Stale("the connection ended before an answer"))

    @property
    def transport(self) -> Any:
        """The transport below, for putting TLS on top of it."""
        return self._transport

    async def exchange(
        self, parts: list[bytes], *, no_body: bool = False, max_body_bytes: int
    ) -> Reply:
        """Send a request and return its answer; cancelling it closes the connection."""
        if self.closed or self._transport.is_closing():
            raise Unsent("the connection was closed while idle")
        self._reader = ReplyReader(no_body=no_body, max_body_bytes=max_body_bytes)
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
        try:
            return await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            if self._reader is not None and not self._reader.keep_alive:
                self.close()
            self._reader = None
            self._waiter = None

    def close(self) -> None:
        """Close the connection; a request under way fails."""
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def _succeed(self, reply: Reply) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(reply)

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
