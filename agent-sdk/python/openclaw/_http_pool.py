"""Connections to web servers, kept open and used again; TLS and proxies below."""

from __future__ import annotations

import asyncio
from typing import Any

from . import __version__
from ._connection import Connection, Stale
from ._errors import ConnectError
from ._url import Url
from ._wire import Reply

# More than this stay open only when somebody makes more requests at once.
MAX_IDLE_PER_ORIGIN = 8
_SAFE_TO_SEND_AGAIN = frozenset(("GET", "HEAD", "OPTIONS"))


class Pool:
    """Idle connections by origin."""

    def __init__(self, verify: bool | Any) -> None:
        self._verify = verify
        self._idle: dict[tuple[Any, ...], list[Connection]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tls: Any = None

    async def exchange(
        self, method: str, url: Url, headers: dict[str, str], body: bytes, max_body_bytes: int
    ) -> Reply:
        """Make one request and return its answer."""
        proxy = url.proxy()
        request = _request(method, url, headers, body, absolute=bool(proxy))
        key = (*url.origin, proxy and proxy.text)
        limits: dict[str, Any] = {"no_body": method == "HEAD", "max_body_bytes": max_body_bytes}
        connection = await self._connection(key, url, proxy)
        try:
            reply = await connection.exchange(request, **limits)
        except Stale:
            if not (connection.reused and method in _SAFE_TO_SEND_AGAIN):
                raise
            # The server may have closed a kept connection just then, which says nothing about the
            # request: it is sent once more on a new one (RFC 9110, 9.2.2).
            connection = await self._connect(url, proxy)
            reply = await connection.exchange(request, **limits)
        idle = self._idle.setdefault(key, [])
        if not connection.closed and len(idle) < MAX_IDLE_PER_ORIGIN:
            idle.append(connection)
        else:
            connection.close()
        return reply

    def close(self) -> None:
        """Close what is idle."""
        for idle in self._idle.values():
            for connection in idle:
                if self._loop is not None and not self._loop.is_closed():
                    connection.close()
        self._idle.clear()

    async def _connection(self, key: tuple[Any, ...], url: Url, proxy: Url | None) -> Connection:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # Connections belong to the loop they were made in.
            self._idle.clear()
            self._loop = loop
        idle = self._idle.get(key, [])
        while idle:
            connection = idle.pop()
            if not connection.closed:
                connection.reused = True
                return connection
        return await self._connect(url, proxy)

    async def _connect(self, url: Url, proxy: Url | None) -> Connection:
        loop = asyncio.get_running_loop()
        tls = self._context() if url.scheme == "https" else None
        if proxy is None:
            name = url.host if tls else None
            _, connection = await loop.create_connection(
                Connection, url.host, url.port, ssl=tls, server_hostname=name
            )
            return connection
        _, connection = await loop.create_connection(Connection, proxy.host, proxy.port)
        if tls is not None:
            await self._tunnel(connection, url, tls)
        return connection

    async def _tunnel(self, connection: Connection, url: Url, tls: Any) -> None:
        place = f"{url.host}:{url.port}"
        request = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode()
        # The answer to CONNECT has no body, whatever its headers say.
        reply = await connection.exchange([request], no_body=True, max_body_bytes=0)
        if reply.status != 200 or connection.closed:
            connection.close()
            raise ConnectError(f"the proxy refused {place}: {reply.status} {reply.reason}")
        transport = await asyncio.get_running_loop().start_tls(
            connection.transport, connection, tls, server_hostname=url.host
        )
        assert transport is not None, "start_tls raises when it fails"
        connection.connection_made(transport)

    def _context(self) -> Any:
        if self._tls is None:
            import ssl

            if isinstance(self._verify, ssl.SSLContext):
                self._tls = self._verify
            else:
                self._tls = ssl.create_default_context()
                if not self._verify:
                    self._tls.check_hostname = False
                    self._tls.verify_mode = ssl.CERT_NONE
        return self._tls


def _request(
    method: str, url: Url, headers: dict[str, str], body: bytes, *, absolute: bool
) -> list[bytes]:
    whole = absolute and url.scheme == "http"
    target = f"http://{url.netloc}{url.target}" if whole else url.target
    defaults = {
        "host": url.netloc,
        "user-agent": f"openclaw-python/{__version__}",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
    }
    if body or method in ("POST", "PUT", "PATCH"):
        defaults["content-length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in {**defaults, **headers}.items():
        text = str(value)
        if "\r" in text or "\n" in text or "\n" in name:
            raise ValueError(f"header {name!r} holds a line break")
        lines.append(f"{name}: {text}")
    head = "\r\n".join(lines) + "\r\n\r\n"
    return [head.encode("latin-1"), body] if body else [head.encode("latin-1")]
