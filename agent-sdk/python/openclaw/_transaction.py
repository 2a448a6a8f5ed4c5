"""Several writes and emits as one version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _values
from ._duration import milliseconds
from ._identifiers import generate_id, state_key
from ._outgoing import outgoing_event
from ._work import Op, Witness, buffering, trace_headers

if TYPE_CHECKING:
    from ._duration import Duration
    from ._link import Link


class Transaction:
    """Collects writes; they are sent when the block ends, and dropped when it raises."""

    def __init__(
        self,
        link: Link,
        space: str,
        witness: Witness,
        read: Callable[[str, Any], Awaitable[Any]],
    ) -> None:
        self._link = link
        self._space = space
        self._witness = witness
        self._read = read
        self._ops: dict[str, Op] = {}
        self._events: list[bytes] = []

    async def get(self, key: str, default: Any = None) -> Any:
        """Return a value, with this transaction's own writes seen."""
        op = self._ops.get(key)
        if op is None:
            return await self._read(key, default)
        return default if op.value is None else _values.decode(op.value)

    def set(
        self,
        key: str,
        value: Any,
        *,
        ttl: Duration | None = None,
        if_version: int | None = None,
    ) -> None:
        """Store a value when the block ends."""
        ttl_ms = None if ttl is None else milliseconds(ttl)
        self._ops[state_key(key)] = Op(_values.encode(value), ttl_ms, if_version)

    def delete(self, key: str, *, if_version: int | None = None) -> None:
        """Remove a key when the block ends."""
        self._ops[state_key(key)] = Op(None, None, if_version)

    def emit(self, name: str, data: Any = None, **options: Any) -> str:
        """Publish an event together with the writes; options as for `Agent.emit`."""
        event_id, event = outgoing_event(name, data, **options)
        self._events.append(event)
        return event_id

    async def __aenter__(self) -> Transaction:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None or not (self._ops or self._events):
            return
        work = buffering()
        if work is not None:
            for key, op in self._ops.items():
                work.keep(self._space, key, op)
            work.events.extend(self._events)
        else:
            ops = ", ".join(op.wire(key) for key, op in self._ops.items())
            events = ", ".join(event.decode() for event in self._events)
            body = f'{{"state": [{ops}], "events": [{events}]}}'.encode()
            headers = {"Idempotency-Key": generate_id(), **(trace_headers() or {})}
            await self._link.call("POST", f"/v1/{self._space}:batch", body, headers)
        self._witness(f"{self._space}.transaction")
