"""The metrics an agent has set, as a test wants to see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class MetricsView(Mapping[str, Any]):
    """Gauges and counters as numbers, histograms as lists of what was observed.

    `h.metrics["up"]` is without labels or, if only one set of labels was used, with those;
    `h.metrics.of("up", zone="eu")` names them.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}

    def take(self, samples: list[dict[str, Any]]) -> None:
        """Take in samples as the protocol sends them."""
        for sample in samples:
            labels = tuple(sorted((sample.get("labels") or {}).items()))
            series = (sample["name"], labels)
            value = sample["value"]
            if sample["kind"] == "gauge":
                self._series[series] = value
            elif sample["kind"] == "counter":
                self._series[series] = self._series.get(series, 0) + value
            else:
                self._series.setdefault(series, []).append(value)

    def of(self, name: str, **labels: str) -> Any:
        """Return a metric with exactly these labels; KeyError if it was never set."""
        return self._series[name, tuple(sorted(labels.items()))]

    def __getitem__(self, name: str) -> Any:
        if (name, ()) in self._series:
            return self._series[name, ()]
        found = [value for (known, _), value in self._series.items() if known == name]
        if len(found) != 1:
            raise KeyError(f"{name}: {len(found)} series; h.metrics.of(name, label=…) names one")
        return found[0]

    def __iter__(self) -> Iterator[str]:
        return iter({name: None for name, _ in self._series})

    def __len__(self) -> int:
        return len({name for name, _ in self._series})

    def __repr__(self) -> str:
        return repr(self._series)
