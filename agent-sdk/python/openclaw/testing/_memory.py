"""State in memory, with versions and time to live, and a dict's face for tests."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from datetime import datetime
from typing import Any, NamedTuple

from .. import _values
from .._errors import from_problem
from ._clock import Clock

MAX_STATE_BYTES = 100 * 1024 * 1024


class Kept(NamedTuple):
    """A value as it was sent."""

    text: bytes
    version: int
    expires: datetime | None


class Memory:
    """One map of keys to values."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, Kept] = {}
        self.version = 0
        self.max_bytes = MAX_STATE_BYTES

    def find(self, key: str) -> Kept | None:
        """Return a value that is there and has not expired."""
        kept = self._kept.get(key)
        if kept is None or (kept.expires is not None and kept.expires <= self._clock.now):
            return None
        return kept

    def names(self) -> list[str]:
        """Return the keys that are there, sorted."""
        return sorted(key for key in self._kept if self.find(key))

    def commit(self, ops: list[dict[str, Any]]) -> None:
        """Carry out all operations as one version, or raise and carry out none."""
        for op in ops:
            self.check_version(op)
        changed = dict(self._kept)
        for op in ops:
            if op["op"] == "delete":
                changed.pop(op["key"], None)
            else:
                ttl_ms = op.get("ttl_ms")
                expires = None if ttl_ms is None else self._clock.after(ttl_ms)
                changed[op["key"]] = Kept(op["text"], self.version + 1, expires)
        self._check_size(changed)
        if ops:
            self._kept = changed
            self.version += 1

    def check_version(self, op: dict[str, Any]) -> None:
        """Raise VersionConflict where an operation's condition does not hold."""
        wanted = op.get("if_version")
        kept = self.find(op["key"])
        found = kept.version if kept else 0
        if wanted is not None and wanted != found:
            detail = {"key": op["key"], "version": found}
            message = f"{op['key']} is at version {found}, not {wanted}"
            problem = {"code": "version_conflict", "message": message, "detail": detail}
            raise from_problem(412, problem)

    def _check_size(self, changed: dict[str, Kept]) -> None:
        size = sum(len(kept.text) for kept in changed.values())
        if size > self.max_bytes:
            message = f"state would be {size} bytes, limit is {self.max_bytes}"
            raise from_problem(413, {"code": "state_too_large", "message": message})


class MemoryView(MutableMapping[str, Any]):
    """What a test sees of a state: values, fresh at each look."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def __getitem__(self, key: str) -> Any:
        kept = self._memory.find(key)
        if kept is None:
            raise KeyError(key)
        return _values.decode(kept.text)

    def __setitem__(self, key: str, value: Any) -> None:
        self._memory.commit([{"op": "set", "key": key, "text": _values.encode(value)}])

    def __delitem__(self, key: str) -> None:
        self[key]
        self._memory.commit([{"op": "delete", "key": key}])

    def __iter__(self) -> Iterator[str]:
        return iter(self._memory.names())

    def __len__(self) -> int:
        return len(self._memory.names())

    def __repr__(self) -> str:
        return repr(dict(self))
