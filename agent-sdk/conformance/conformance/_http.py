"""As much of HTTP/1.1 as the protocol needs, over a Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_BODY_BYTES = 64 * 1024 * 1024
_REASONS = {200: "OK", 202: "Accepted", 204: "No Content", 304: "Not Modified"}


class Request(NamedTuple):
    """A request; `path` is still percent-encoded, `parts` are its decoded segments."""

    method: str
    path: str
    parts: list[str]
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body parsed."""
        return json.loads(self.body)


class Answer(NamedTuple):
    """An answer; `status` 0 closes the connection without one."""

    status: int
    body: bytes = b""
    headers: dict[str, str] | None = None

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Answer:
        """Make an answer of JSON."""
        return cls(status, json.dumps(value, ensure_ascii=False).encode())


NO_ANSWER = Answer(0)
Handle = Callable[[Request], Awaitable[Answer]]
Stream = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


class HttpServer:
    """Serves one socket path; can vanish and come back at it."""

    def __init__(self, path: Path, handle: Handle, stream: Stream) -> None:
        self._path = path
        self._handle = handle
        self._stream = stream
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path))

    async def stop(self) -> None:
        """Vanish: every connection is cut, and the path is gone."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._path.unlink(missing_ok=True)
        tasks = list(self._connections.values())
        for writer, task in self._connections.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        self._connections[writer] = task
        try:
            while (request := await _read(reader)) is not None:
                if request.path == "/v1/control" and request.method == "GET":
                    await self._stream(request, writer)
                    return
                answer = await self._handle(request)
                if answer.status == 0:
                    return
                writer.write(_format(answer))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The client went away, or this server did.
            pass
        finally:
            self._connections.pop(writer, None)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
    }
    length = int(headers.get("content-length", "0"))
    if length > MAX_BODY_BYTES:
        raise OSError("body too large")
    split = urlsplit(target)
    parts = [unquote(part) for part in split.path.split("/")[1:]]
    query = dict(parse_qsl(split.query, keep_blank_values=True))
    body = await reader.readexactly(length)
    return Request(method, split.path, parts, query, headers, body)


def _format(answer: Answer) -> bytes:
    head = f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Error')}\r\n"
    if answer.status not in (204, 304):
        head += f"Content-Type: application/json\r\nContent-Length: {len(answer.body)}\r\n"
    for name, value in (answer.headers or {}).items():
        head += f"{name}: {value}\r\n"
    return head.encode("latin-1") + b"\r\n" + answer.body
