"""Ids and times as text."""

from __future__ import annotations

import os
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_lock = threading.Lock()
_last = 0


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
