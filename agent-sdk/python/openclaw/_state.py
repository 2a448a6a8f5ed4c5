"""Durable state: what an agent remembers between runs, restarts and machines' reboots.

`set` returns when the value is on disk. Inside handlers of events writes are kept and sent with
the outcome, so that a redelivered event cannot count twice; reads see them meanwhile.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from . import _values
from ._duration import milliseconds
from ._errors import ProtocolError, VersionConflict
from ._identifiers import generate_id, state_key
from ._snapshot import Snapshot
from ._transaction import Transaction
from ._work import Op, Witness, buffering, trace_headers

if TYPE_CHECKING:
    from ._duration import Duration
    from ._link import Link

# Each lost race means that somebody else has won one, so this many are never lost in practice.
MAX_UPDATE_ATTEMPTS = 1000


class Versioned(NamedTuple):
    """A value with the version that `if_version` takes; 0 means the key does not exist."""

    value: Any
    version: int


class Space:
    """A map of keys to values on the supervisor's side."""

    def __init__(self, link: Link, space: str, witness: Witness) -> None:
        self._link = link
        self._space = space
        self._witness = witness

    async def get(self, key: str, default: Any = None) -> Any:
        """Return a fresh copy of the value, or of the default."""
        value, version = await self.get_versioned(key, default)
        self._witness(f"{self._space}.get")
        return value if version else copy.deepcopy(value)

    async def get_versioned(self, key: str, default: Any = None) -> Versioned:
        """Return the value with its version, for a later `set(..., if_version=)`."""
        work = buffering()
        op = work.ops[self._space].get(key) if work else None
        if op is not None:
            return Versioned(default, 0) if op.value is None else Versioned(_read(op.value), -1)
        try:
            reply = await self._link.call("GET", self._path(key), headers=trace_headers())
        except ProtocolError as error:
            if error.code == "unknown_key":
                return Versioned(default, 0)
            raise
        return Versioned(_read(reply.body), int(reply.headers["etag"].strip('"')))

    async def set(
        self,
        key: str,
        value: Any,
        *,
        ttl: Duration | None = None,
        if_version: int | None = None,
    ) -> None:
        """Store a value; `if_version` demands the version read before, 0 that there is none."""
        ttl_ms = None if ttl is None else milliseconds(ttl)
        await self._write(key, Op(_values.encode(value), ttl_ms, if_version))
        self._witness(f"{self._space}.set")

    async def delete(self, key: str, *, if_version: int | None = None) -> None:
        """Remove a key; a key that is not there is no error."""
        await self._write(key, Op(None, None, if_version))
        self._witness(f"{self._space}.delete")

    async def update(
        self,
        key: str,
        change: Callable[[Any], Any | Awaitable[Any]],
        default: Any = None,
        *,
        ttl: Duration | None = None,
    ) -> Any:
        """Replace a value by `change(value)`, as one step whoever else writes; return the new one.

        `change` may be called again when another writer was faster: it has no effects of its own.
        """
        for _ in range(MAX_UPDATE_ATTEMPTS):
            value, version = await self.get_versioned(key, copy.deepcopy(default))
            value = change(value)
            if asyncio.iscoroutine(value):
                value = await value
            try:
                await self.set(key, value, ttl=ttl, if_version=None if version < 0 else version)
            except VersionConflict:
                await asyncio.sleep(random.uniform(0, 0.005))
            else:
                return value
        raise VersionConflict(f"`{key}` is written by others all the time", "version_conflict")

    async def keys(self, prefix: str = "") -> list[str]:
        """Return the keys that begin with a prefix, sorted."""
        found = {entry["key"] async for entry in self._list(prefix, values=False)}
        work = buffering()
        for key, op in (work.ops[self._space] if work else {}).items():
            if op.value is None:
                found.discard(key)
            elif key.startswith(prefix):
                found.add(key)
        return sorted(found)

    async def items(self, prefix: str = "") -> dict[str, Any]:
        """Return keys and values that begin with a prefix."""
        found = {e["key"]: _values.untag(e["value"]) async for e in self._list(prefix, values=True)}
        work = buffering()
        for key, op in (work.ops[self._space] if work else {}).items():
            if op.value is None:
                found.pop(key, None)
            elif key.startswith(prefix):
                found[key] = _read(op.value)
        return dict(sorted(found.items()))

    def transaction(self) -> Transaction:
        """Group writes and emits into one version: all of them happen or none.

        `async with self.state.transaction() as tx: tx.set("a", 1); tx.emit("done", {})`
        """
        return Transaction(self._link, self._space, self._witness, self.get)

    async def _write(self, key: str, op: Op) -> None:
        work = buffering()
        if work is not None:
            work.keep(self._space, state_key(key), op)
            return
        headers = dict(trace_headers() or {})
        if op.if_version is not None:
            name, text = ("If-Match", f'"{op.if_version}"')
            if op.if_version == 0:
                name, text = ("If-None-Match", "*")
            headers.update({name: text, "Idempotency-Key": generate_id()})
        path = self._path(key)
        if op.value is None:
            await self._link.call("DELETE", path, b"", headers)
        else:
            query = "" if op.ttl_ms is None else f"?ttl_ms={op.ttl_ms}"
            await self._link.call("PUT", path + query, op.value, headers)

    async def _list(self, prefix: str, *, values: bool) -> Any:
        after = ""
        while True:
            query = f"prefix={quote(prefix, safe='')}&after={quote(after, safe='')}"
            query += "&values=true" if values else ""
            reply = await self._link.call("GET", f"/v1/{self._space}?{query}")
            page = json.loads(reply.body)
            for entry in page["keys"]:
                yield entry
            after = page.get("next") or ""
            if not after:
                return

    def _path(self, key: str) -> str:
        return f"/v1/{self._space}/{quote(state_key(key), safe='')}"


class State(Space):
    """This agent's own state."""

    def read_from(self, agent: str) -> Snapshot:
        """Return another agent's state as a read-only mapping, as it is at this moment.

        It is read when first used, without `await`; awaiting it reads without blocking the loop.
        """
        return Snapshot(self._link, agent)


class SharedState(Space):
    """State that several agents of the fleet share, each with the right to its part."""


def _read(text: bytes) -> Any:
    return _values.decode(text)
