"""Events on their way out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import _values
from ._duration import milliseconds
from ._identifiers import event_name, generate_id

if TYPE_CHECKING:
    from ._duration import Duration


def outgoing_event(
    name: str,
    data: Any,
    *,
    key: str | None = None,
    delay: Duration | None = None,
    idempotency_key: str | None = None,
) -> tuple[str, bytes]:
    """Return the id and the JSON text of an event; the id makes a repeated send harmless."""
    event_id = f"e_{generate_id()}"
    fields: dict[str, Any] = {"id": event_id, "name": event_name(name)}
    if key is not None:
        fields["key"] = str(key)
    if delay is not None:
        fields["delay_ms"] = milliseconds(delay)
    if idempotency_key is not None:
        fields["idempotency_key"] = idempotency_key
    text = json.dumps(fields)[:-1]
    return event_id, f'{text}, "data": '.encode() + _values.encode(data) + b"}"
