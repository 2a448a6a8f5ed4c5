"""The Internet of a harness: what is not routed does not exist."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from .._errors import ConnectError
from .._http import Headers, Response

Answer = Any


class Request(NamedTuple):
    """A request an agent has made."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The body parsed as JSON."""
        return json.loads(self.content)


class HttpRoutes:
    """Answers by method and URL.

    A URL ends in `*` to match a beginning, or is a compiled pattern. Several answers are given one
    after the other, the last one for good. A function gets the request and returns an answer; an
    exception is raised.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.unmatched: list[Request] = []
        self._routes: list[tuple[str, str | re.Pattern[str], list[Any]]] = []

    def get(self, url: str | re.Pattern[str], *answers: Any, **fields: Any) -> None:
        """Answer GET requests; `status=`, `json=`, `text=`, `headers=`, or several answers."""
        self.on("GET", url, *answers, **fields)

    def post(self, url: str | re.Pattern[str], *answers: Any, **fields: Any) -> None:
        """Answer POST requests."""
        self.on("POST", url, *answers, **fields)

    def put(self, url: str | re.Pattern[str], *answers: Any, **fields: Any) -> None:
        """Answer PUT requests."""
        self.on("PUT", url, *answers, **fields)

    def patch(self, url: str | re.Pattern[str], *answers: Any, **fields: Any) -> None:
        """Answer PATCH requests."""
        self.on("PATCH", url, *answers, **fields)

    def delete(self, url: str | re.Pattern[str], *answers: Any, **fields: Any) -> None:
        """Answer DELETE requests."""
        self.on("DELETE", url, *answers, **fields)

    def on(self, method: str, url: str | re.Pattern[str], *answers: Any, **fields: Any) -> None:
        """Answer requests; a later route for the same URL takes the place of an earlier one."""
        listed = list(answers) if answers else [response(**fields)]
        self._routes.insert(0, (method.upper(), url, listed))

    def to(self, url_part: str) -> list[Request]:
        """Return the requests whose URL holds a text."""
        return [request for request in self.requests if url_part in request.url]

    async def transport(self, method: str, url: str, headers: Headers, body: bytes) -> Response:
        """Stand in for the network."""
        request = Request(method, url, dict(headers), body)
        self.requests.append(request)
        for routed, pattern, answers in self._routes:
            if routed == method and _matches(pattern, url):
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                result = _resolve(answer, request)
                result.url = url
                return result
        self.unmatched.append(request)
        raise ConnectError(f"the harness has no route for {method} {url}")


def response(
    status: int = 200,
    *,
    json: Any = None,
    text: str = "",
    content: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Make an answer."""
    if json is not None:
        import json as json_module

        body = json_module.dumps(json).encode()
        return Response(status, body, {"content-type": "application/json", **(headers or {})})
    return Response(status, text.encode() if content is None else content, headers)


def _resolve(answer: Answer, request: Request) -> Response:
    if isinstance(answer, Callable) and not isinstance(answer, type):  # type: ignore[arg-type]
        return _resolve(answer(request), request)
    if isinstance(answer, BaseException) or (
        isinstance(answer, type) and issubclass(answer, BaseException)
    ):
        raise answer
    if isinstance(answer, Response):
        return Response(answer.status_code, answer.content, answer.headers)
    if isinstance(answer, int):
        return response(answer)
    if isinstance(answer, str):
        return response(text=answer)
    return response(json=answer)


def _matches(pattern: str | re.Pattern[str], url: str) -> bool:
    if isinstance(pattern, re.Pattern):
        return pattern.search(url) is not None
    if pattern.endswith("*"):
        return url.startswith(pattern[:-1])
    return url == pattern
