"""Ids and times as text."""

from __future__ import annotations

import os
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_lock = threading.Lock()
_last = 0

MAX_KEY_BYTES = 512
MAX_EVENT_NAME = 255
RESERVED_EVENTS = ("openclaw", "agent")


def generate_id() -> str:
    """Return a unique text of 26 characters; later ones of one process sort after earlier ones."""
    global _last  # noqa: PLW0603 - ids of one process must not go back when its clock does
    with _lock:
        stamp = (time.time_ns() // 1_000_000) << 80
        value = stamp | int.from_bytes(os.urandom(10), "big")
        _last = value = value if value > _last else _last + 1
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def now_iso() -> str:
    """Return the time in UTC as ISO 8601, to the millisecond."""
    from datetime import datetime, timezone

    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def state_key(key: object) -> str:
    """Return a key of the state; TypeError or ValueError for what can be none.

    Checked here and not by the supervisor alone: a handler's writes are sent when it is over,
    and an error then would not show the line that made it.
    """
    if not isinstance(key, str) or not key:
        raise TypeError(f"a key is text that is not empty, not {key!r}")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"a key has at most {MAX_KEY_BYTES} bytes, not {key[:40]!r}…")
    if not key.isprintable() and any(ord(c) < 32 or ord(c) == 127 for c in key):
        raise ValueError(f"a key has no control characters, not {key!r}")
    return key


def event_name(name: object) -> str:
    """Return the name of an event to emit; TypeError or ValueError for what can be none."""
    if not isinstance(name, str):
        raise TypeError(f"an event's name is text, not {name!r}")
    tokens = name.split(".")
    plain = all(token and token.replace("-", "_").replace("_", "a").isalnum() for token in tokens)
    if not (plain and name.isascii() and len(name) <= MAX_EVENT_NAME):
        raise ValueError(f"{name!r}: an event name is words of a–z 0–9 _ - joined by dots")
    if tokens[0] in RESERVED_EVENTS:
        raise ValueError(f"{name!r}: events that begin with {tokens[0]!r} are the supervisor's")
    return name
