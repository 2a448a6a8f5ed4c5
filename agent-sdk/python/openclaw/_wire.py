"""HTTP/1.1 answers, read without doing any input or output.

Both the protocol client and the HTTP client put their bytes in here; so does the blocking
reader behind `state.read_from`.
"""

from __future__ import annotations

from ._errors import OpenClawError

MAX_HEAD_BYTES = 65_536


class WireError(OpenClawError, ConnectionError):
    """What came is not HTTP, or more than was allowed."""


class Reply:
    """A whole answer."""

    __slots__ = ("body", "headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body


class ReplyReader:
    """Collects bytes until they are one answer.

    head ──► length ──► done
      ├────► chunks ──► done
      ├────► until the connection closes ──► done
      └────► done (no body)
    """

    __slots__ = ("_body", "_buffer", "_chunks", "_max", "_no_body", "_reply", "_state", "_want")

    def __init__(self, *, no_body: bool, max_body_bytes: int) -> None:
        self._buffer = bytearray()
        self._no_body = no_body
        self._max = max_body_bytes
        self._state = "head"
        self._reply: Reply | None = None
        self._want = 0
        self._chunks: list[bytes] = []
        self._body = 0

    @property
    def started(self) -> bool:
        """Whether any byte of the answer has come."""
        return self._state != "head" or bool(self._buffer)

    def feed(self, data: bytes) -> Reply | None:
        """Take in bytes; return the answer once it is whole."""
        if self._state == "head" and not self._buffer:
            reply = self._whole(data)
            if reply is not None:
                return reply
        self._buffer += data
        if self._state == "head" and not self._read_head():
            return None
        if self._state == "length":
            return self._finish_length()
        if self._state == "chunks":
            return self._read_chunks()
        if self._state == "close":
            self._take(len(self._buffer))
            return None
        return self._done()

    def close(self) -> Reply | None:
        """Take in the end of the connection, which ends some answers."""
        return self._done() if self._state == "close" else None

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may carry another request."""
        reply = self._reply
        return (
            reply is not None
            and self._state == "done"
            and not self._buffer
            and reply.headers.get("connection", "").lower() != "close"
        )

    def _whole(self, data: bytes) -> Reply | None:
        """Return an answer that came in one piece, as small ones do, without copying it around."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or self._no_body:
            return None
        reply = _parse_head(data[:end])
        length = reply.headers.get("content-length", "")
        if not length.isdigit() or "transfer-encoding" in reply.headers or reply.status < 200:
            return None
        if len(data) != end + 4 + int(length) or reply.status in (204, 304):
            return None
        self._check_size(int(length))
        reply.body = data[end + 4 :]
        self._reply = reply
        self._state = "done"
        return reply

    def _read_head(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise WireError("the headers of the answer are too long")
                return False
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            reply = _parse_head(head)
            if reply.status >= 200:
                break
        self._reply = reply
        self._choose_body(reply)
        return True

    def _choose_body(self, reply: Reply) -> None:
        if self._no_body or reply.status in (204, 304):
            self._state = "empty"
        elif "chunked" in reply.headers.get("transfer-encoding", "").lower():
            self._state = "chunks"
        elif "content-length" in reply.headers:
            length = reply.headers["content-length"]
            if not length.isdigit():
                raise WireError(f"Content-Length {length!r} is no number")
            self._want = int(length)
            self._state = "length"
            self._check_size(self._want)
        else:
            reply.headers["connection"] = "close"
            self._state = "close"

    def _finish_length(self) -> Reply | None:
        if len(self._buffer) < self._want:
            return None
        self._take(self._want)
        return self._done()

    def _read_chunks(self) -> Reply | None:
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return None
            try:
                size = int(self._buffer[:end].split(b";")[0], 16)
            except ValueError:
                raise WireError("a chunk has no size") from None
            if size == 0:
                trailer = self._buffer.find(b"\r\n\r\n")
                if trailer < 0:
                    return None
                del self._buffer[: trailer + 4]
                return self._done()
            self._check_size(self._body + size)
            if len(self._buffer) < end + 2 + size + 2:
                return None
            del self._buffer[: end + 2]
            self._take(size)
            del self._buffer[:2]

    def _take(self, size: int) -> None:
        self._check_size(self._body + size)
        self._chunks.append(bytes(self._buffer[:size]))
        self._body += size
        del self._buffer[:size]

    def _check_size(self, size: int) -> None:
        if size > self._max:
            raise WireError(f"the answer is larger than {self._max} bytes")

    def _done(self) -> Reply:
        reply = self._reply
        assert reply is not None, "an answer is done only after its head"
        reply.body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._state = "done"
        return reply


def _parse_head(head: bytes) -> Reply:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    code, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not code.isdigit():
        raise WireError("the answer is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise WireError("a header of the answer has no colon")
        name = name.strip().lower()
        value = value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return Reply(int(code), reason, headers, b"")
