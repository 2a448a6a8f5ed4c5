"""Another agent's state, as it was at one version."""

from __future__ import annotations

import copy
import json
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from . import _values

if TYPE_CHECKING:
    from ._link import Link


class Snapshot(Mapping[str, Any]):
    """A read-only mapping; an agent nobody knows is empty. Assigning raises TypeError."""

    def __init__(self, link: Link, agent: str) -> None:
        self._link = link
        self._path = f"/v1/agents/{quote(agent, safe='')}/state"
        self._agent = agent
        self._version = 0
        self._values: dict[str, Any] | None = None

    @property
    def version(self) -> int:
        """The version that was read."""
        self._read()
        return self._version

    def get(self, key: str, default: Any = None) -> Any:
        """Return a fresh copy of a value, or the default; not awaited."""
        values = self._read()
        return copy.deepcopy(values.get(key, default))

    def __getitem__(self, key: str) -> Any:
        return copy.deepcopy(self._read()[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __await__(self) -> Generator[Any, None, Snapshot]:
        return self._fetch().__await__()

    def __repr__(self) -> str:
        return f"<state of {self._agent}>"

    async def _fetch(self) -> Snapshot:
        if self._values is None:
            self._take((await self._link.call("GET", self._path)).body)
        return self

    def _read(self) -> dict[str, Any]:
        if self._values is None:
            self._take(self._link.call_blocking(self._path).body)
        assert self._values is not None, "taking an answer sets the values"
        return self._values

    def _take(self, body: bytes) -> None:
        answer = json.loads(body)
        self._version = answer["version"]
        self._values = {key: _values.untag(value) for key, value in answer["state"].items()}
