"""An HTTP client for agents: small, without dependencies, its URLs sent as they were written.

A status such as 404 or 503 is an answer and does not raise. Connect errors, time-outs, 429 and
502–504 are tried again, for methods that may be repeated; the last answer is returned.

A GET, HEAD or OPTIONS whose kept connection ends before any byte of the answer is sent once more on
a new connection. That is part of the same try and does not count as one of `retries`.
"""

from __future__ import annotations

import asyncio
import json as json_module
import time
from collections.abc import Mapping
from typing import Any

from ._deadline import TIMEOUTS
from ._deadline import timeout as deadline
from ._errors import ConnectError, HttpError, HttpTimeout
from ._http_pool import Pool
from ._url import Url, with_params
from ._wire import Reply, WireError
from ._work import current

DEFAULT_TIMEOUT = 30.0
MAX_BODY_BYTES = 64 * 1024 * 1024
# A server that asks for more than this is told so by the next run.
MAX_RETRY_AFTER = 60.0
MAX_REDIRECTS = 5
_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))
_RETRY_STATUSES = frozenset((429, 502, 503, 504))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


class Response:
    """An answer, whole: `.status_code`, `.text`, `.content`, `.headers`, `.ok`, `.json()`."""

    def __init__(
        self,
        status_code: int,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        url: str = "",
        elapsed: float = 0.0,
    ) -> None:
        self.status_code = status_code
        self.content = content
        self.headers = Headers(headers or {})
        self.url = url
        self.elapsed = elapsed

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status_code < 400

    @property
    def text(self) -> str:
        """The body as text, in the charset it names, else UTF-8."""
        kind = self.headers.get("content-type", "")
        charset = kind.partition("charset=")[2].split(";")[0].strip("\"' ") or "utf-8"
        try:
            return self.content.decode(charset, "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body parsed as JSON; ValueError if it is none."""
        return json_module.loads(self.content)

    def raise_for_status(self) -> None:
        """Raise HttpError for a status of 400 and above; never done unasked."""
        if not self.ok:
            raise HttpError(f"{self.url} answered {self.status_code}")

    def __repr__(self) -> str:
        return f"<Response {self.status_code}>"


class Headers(dict[str, str]):
    """Headers by lower-case name, found in any case."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in values.items()})

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header, or the default."""
        return super().get(name.lower(), default)


class HttpClient:
    """Makes requests, keeps connections, tries again where that is safe."""

    def __init__(
        self,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = 0,
        retry_delay: float = 1.0,
        *,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
        verify: bool | Any = True,
    ) -> None:
        self.timeout = timeout
        self.retries = retries
        self.retry_delay = retry_delay
        self.headers = dict(headers or {})
        self.follow_redirects = follow_redirects
        self._pool = Pool(verify)

    async def get(self, url: str, **options: Any) -> Response:
        """Make a GET request; options as for `request`."""
        return await self.request("GET", url, **options)

    async def head(self, url: str, **options: Any) -> Response:
        """Make a HEAD request."""
        return await self.request("HEAD", url, **options)

    async def post(self, url: str, **options: Any) -> Response:
        """Make a POST request; it is never repeated."""
        return await self.request("POST", url, **options)

    async def put(self, url: str, **options: Any) -> Response:
        """Make a PUT request."""
        return await self.request("PUT", url, **options)

    async def patch(self, url: str, **options: Any) -> Response:
        """Make a PATCH request; it is never repeated."""
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str, **options: Any) -> Response:
        """Make a DELETE request."""
        return await self.request("DELETE", url, **options)

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | str | Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Make a request and return the whole answer; `timeout` in seconds is for each attempt."""
        method = method.upper()
        target = with_params(url, params)
        body, kind = _body(json, data)
        all_headers = Headers({**kind, **self.headers, **(headers or {})})
        limit = self.timeout if timeout is None else timeout
        attempts = 1 + (self.retries if method in _IDEMPOTENT else 0)
        for attempt in range(1, attempts + 1):
            try:
                response = await self._attempt(method, target, all_headers, body, limit)
            except (ConnectError, HttpTimeout):
                if attempt == attempts:
                    raise
                await self._pause(self.retry_delay)
                continue
            if response.status_code not in _RETRY_STATUSES or attempt == attempts:
                return response
            await self._pause(_retry_after(response, self.retry_delay))
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Close the connections kept open; the client can still be used."""
        self._pool.close()

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _attempt(
        self, method: str, url: str, headers: Headers, body: bytes, limit: float
    ) -> Response:
        begun = time.monotonic()
        scope = current.get()
        fake = scope.agent.__dict__.get("_http_transport") if scope else None
        send = fake or self._send
        try:
            async with deadline(limit):
                response: Response = await send(method, url, headers, body)
        except TIMEOUTS as error:
            raise HttpTimeout(f"{method} {url}: no answer within {limit:g} s") from error
        except (WireError, OSError) as error:
            raise ConnectError(f"{method} {url}: {error}") from error
        if scope:
            scope.agent._witness("http")
        response.elapsed = time.monotonic() - begun
        return response

    async def _pause(self, seconds: float) -> None:
        scope = current.get()
        if scope is None or "_http_transport" not in scope.agent.__dict__:
            await asyncio.sleep(seconds)

    async def _send(self, method: str, url: str, headers: Headers, body: bytes) -> Response:
        for _ in range(MAX_REDIRECTS + 1):
            target = Url.parse(url)
            reply = await self._pool.exchange(method, target, headers, body, MAX_BODY_BYTES)
            location = reply.headers.get("location", "")
            if not (self.follow_redirects and reply.status in _REDIRECTS and location):
                return Response(reply.status, _content(reply), reply.headers, url=url)
            if reply.status == 303 or (reply.status in (301, 302) and method == "POST"):
                method, body = "HEAD" if method == "HEAD" else "GET", b""
                headers = Headers({k: v for k, v in headers.items() if k != "content-type"})
            url = target.join(location)
            if Url.parse(url).origin != target.origin:
                # Credentials are for the place they were written for.
                hidden = ("authorization", "cookie")
                headers = Headers({k: v for k, v in headers.items() if k not in hidden})
        raise HttpError(f"{method} {url}: more than {MAX_REDIRECTS} redirects")


def _body(json: Any, data: bytes | str | Mapping[str, Any] | None) -> tuple[bytes, dict[str, str]]:
    if json is not None:
        text = json_module.dumps(json, ensure_ascii=False, separators=(",", ":"))
        return text.encode(), {"content-type": "application/json"}
    if isinstance(data, Mapping):
        from urllib.parse import urlencode

        form = urlencode(data, doseq=True).encode()
        return form, {"content-type": "application/x-www-form-urlencoded"}
    return (data.encode() if isinstance(data, str) else data or b""), {}


def _content(reply: Reply) -> bytes:
    encoding = reply.headers.get("content-encoding", "").lower()
    if encoding not in ("gzip", "deflate") or not reply.body:
        return reply.body
    import zlib

    # 32 added to the window lets zlib tell gzip and zlib apart by their headers.
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        content = inflate.decompress(reply.body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise WireError(f"the body is not valid {encoding}") from error
    if inflate.unconsumed_tail:
        raise WireError(f"the body is larger than {MAX_BODY_BYTES} bytes when unpacked")
    return content


def _retry_after(response: Response, default: float) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text), MAX_RETRY_AFTER) if text.isdigit() else default
