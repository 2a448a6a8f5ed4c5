"""Metrics of an agent. They are seen when the run that set them is reported, or within a second."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from ._work import current_work

# What waits while the supervisor is away; then the oldest go.
MAX_WAITING = 10_000
MAX_NAME = 128
MAX_LABELS = 8
MAX_LABEL_VALUE = 128
RESERVED_PREFIX = "openclaw_"


class Metrics:
    """Gauges, counters and histograms; the label `agent` is added by the supervisor."""

    def __init__(self) -> None:
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MAX_WAITING)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a value that goes up and down."""
        self._add("gauge", name, value, labels)

    def counter(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a value that only goes up."""
        if value < 0:
            raise ValueError(f"counter {name} cannot go down by {-value}")
        self._add("counter", name, value, labels)

    def histogram(
        self, name: str, value: float, *, buckets: list[float] | None = None, **labels: str
    ) -> None:
        """Count an observation into buckets, by default from 5 ms to 10 s."""
        self._add("histogram", name, value, labels, buckets)

    def drain(self) -> list[dict[str, Any]]:
        """Take out what was set outside of any work."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def _add(
        self,
        kind: str,
        name: str,
        value: float,
        labels: dict[str, str],
        buckets: list[float] | None = None,
    ) -> None:
        if isinstance(value, bool) or not math.isfinite(value):
            raise ValueError(f"{kind} {name} cannot be {value!r}")
        sample: dict[str, Any] = {"name": _metric(name), "kind": kind, "value": _plain(value)}
        if labels:
            sample["labels"] = _labels(name, labels)
        if buckets:
            sample["buckets"] = [_plain(bound) for bound in buckets]
        work = current_work()
        if work is None:
            self._waiting.append(sample)
        else:
            work.metrics.append(sample)


def _plain(value: float) -> float:
    """Return a number as JSON has it; a Decimal and those of other packages are none."""
    return value if type(value) in (int, float) else float(value)


def _metric(text: str) -> str:
    name = _name(text)
    if len(name) > MAX_NAME or name.startswith(RESERVED_PREFIX):
        raise ValueError(
            f"metric {text!r}: a name has at most {MAX_NAME} characters and does not begin with "
            f"{RESERVED_PREFIX}"
        )
    return name


def _labels(metric: str, labels: dict[str, str]) -> dict[str, str]:
    if "agent" in labels:
        raise ValueError(f"metric {metric}: the label `agent` is added by the supervisor")
    if len(labels) > MAX_LABELS:
        raise ValueError(f"metric {metric}: at most {MAX_LABELS} labels, not {len(labels)}")
    return {_name(label): str(text)[:MAX_LABEL_VALUE] for label, text in labels.items()}


def _name(text: str) -> str:
    """Return a name as Prometheus takes it: other characters become underscores."""
    if text.isidentifier() and text.isascii():
        return text
    plain = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in text)
    return plain if plain[:1].isalpha() or plain[:1] == "_" else f"_{plain}"
