"""CPU quantities as monitoring systems write them."""

from __future__ import annotations

from typing import Any

_SUFFIXES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0}


def parse_cpu(metric: Any) -> float:
    """Return a CPU quantity as percent of one core.

    `250m` and `0.25` cores are 25.0, `12%` is 12.0, and Kubernetes' `137000000n` is 13.7. A
    metric that wraps its value (`{"usage": {"cpu": "250m"}}`, `{"cpu": …}`, `{"value": …}`,
    Prometheus' `[time, "0.25"]`) is looked into.
    """
    if isinstance(metric, dict):
        for key in ("usage", "cpu", "value"):
            if key in metric:
                return parse_cpu(metric[key])
        raise ValueError(f"no CPU quantity in {metric!r}")
    if isinstance(metric, (list, tuple)) and metric:
        return parse_cpu(metric[-1])
    if isinstance(metric, (int, float)) and not isinstance(metric, bool):
        return round(float(metric) * 100, 6)
    text = str(metric).strip()
    if text.endswith("%"):
        return float(text[:-1])
    suffix = text[-1:] if text[-1:] in ("n", "u", "m") else ""
    try:
        number = float(text[: len(text) - len(suffix)])
    except ValueError:
        raise ValueError(f"{metric!r} is no CPU quantity") from None
    return round(number * _SUFFIXES[suffix] * 100, 6)
