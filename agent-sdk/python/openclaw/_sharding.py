"""Which slot, and so which replica, a key belongs to; the same function as on the bus."""

from __future__ import annotations

SLOTS = 64


def slot_of(key: str) -> int:
    """Return the slot of a key, 0 to 63; replica `slot % replicas` has it under `hash`."""
    from hashlib import sha256

    return int.from_bytes(sha256(key.encode()).digest()[:8], "big") % SLOTS
