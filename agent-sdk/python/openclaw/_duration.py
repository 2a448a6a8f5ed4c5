"""Durations as authors write them: a number of seconds, `5m`, or a timedelta."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

    Duration = int | float | str | timedelta

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def milliseconds(value: Duration) -> int:
    """Return a duration in milliseconds."""
    if isinstance(value, (int, float)):
        ms = round(value * 1000)
    elif isinstance(value, str):
        ms = _parse(value)
    else:
        ms = round(value.total_seconds() * 1000)
    if ms < 0:
        raise ValueError(f"{value!r} is a negative duration")
    return ms


def _parse(text: str) -> int:
    """Read `500ms`, `30s`, `1h30m`: numbers with units, one after the other."""
    import re

    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise ValueError(f"{text!r} is no duration; write for example 500ms, 30s, 5m, 2h, 7d")
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts))
