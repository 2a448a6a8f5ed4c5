"""Runs the measurements with every supervisor and prints them."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bakeoff.bench import measures
from bakeoff.bench.measures import Scale, Throughput
from bakeoff.fleet import Fleet, NotUpError, begin_fleet, open_fleet
from bakeoff.peers.base import Child, NotOfferedError, Peer
from bakeoff.peers.openclaw import OpenClaw
from bakeoff.tables import markdown
from bakeoff.tools import Tools

UP_S_PER_CHILD = 0.3
UP_S_AT_LEAST = 60.0


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    children: tuple[int, ...]
    kills: int
    idle_seconds: float
    log_mib: int
    rounds: int


@dataclass
class Measured:
    """All results of one supervisor."""

    version: str
    scales: dict[int, Scale] = field(default_factory=dict)
    log: Throughput | None = None
    notes: list[str] = field(default_factory=list)


ROWS: tuple[tuple[str, Callable[[Scale], str]], ...] = (
    ("all up", lambda scale: _number(scale.up_s, "s")),
    ("memory of the supervisor (PSS)", lambda scale: _number(scale.memory_mib, "MiB")),
    ("its processes", lambda scale: "-" if scale.processes is None else f"{scale.processes:.0f}"),
    ("idle processor time", lambda scale: _number(scale.idle_cpu_percent, "%")),
    ("crash to successor, median", lambda scale: _number(scale.restart_ms, "ms")),
    ("crash to successor, worst", lambda scale: _number(scale.restart_worst_ms, "ms")),
    ("all killed to all back", lambda scale: _number(scale.herd_s, "s")),
    ("status of all", lambda scale: _number(scale.status_ms, "ms")),
    ("stop of everything", lambda scale: _number(scale.stop_s, "s")),
)


def run(
    tools: Tools,
    versions: Mapping[type[Peer], str],
    reasons: Mapping[type[Peer], str],
    settings: Settings,
    json_file: Path | None,
) -> int:
    """Measures and prints; a supervisor that fails a measurement has a dash and a note."""
    results: dict[type[Peer], Measured] = {}
    for peer, version in versions.items():
        results[peer] = _measure(peer, version, tools, settings)
    for count in settings.children:
        print(f"\n{count} children\n\n{_table(results, count)}")
    if settings.log_mib:
        print(f"\nOne child writing lines of 100 bytes, {settings.log_mib} MiB\n\n{_log_table(results)}")
    for peer, measured in results.items():
        for note in measured.notes:
            print(f"\nnote: {peer.name}: {note}")
    for peer, reason in reasons.items():
        print(f"\nskipped: {peer.name}: {reason}")
    if json_file is not None:
        json_file.write_text(json.dumps(_data(results, reasons, settings), indent=2) + "\n")
    return 1 if OpenClaw in results and results[OpenClaw].notes else 0


def _measure(peer: type[Peer], version: str, tools: Tools, settings: Settings) -> Measured:
    measured = Measured(version)
    for count in settings.children:
        rounds = [_scale(peer, tools, count, settings) for _ in range(settings.rounds)]
        measured.scales[count] = measures.medians(rounds)
        measured.notes += [f"{count} children: {note}" for note in measured.scales[count].notes]
        _say(f"{peer.name:12} {count} children: {_brief(measured.scales[count])}")
    if settings.log_mib:
        _measure_log(peer, tools, settings, measured)
    return measured


def _measure_log(peer: type[Peer], tools: Tools, settings: Settings, measured: Measured) -> None:
    try:
        found = [_flood(peer, tools, settings.log_mib) for _ in range(settings.rounds)]
    except (NotUpError, NotOfferedError) as error:
        measured.notes.append(f"log: {error}")
        return
    arrived = [each for each in found if each is not None]
    if not arrived:
        measured.notes.append("log: no byte of the flooding child reached it")
        return
    rate = statistics.median(each.mib_per_s for each in arrived)
    share = statistics.median(each.arrived_percent for each in arrived)
    measured.log = Throughput(rate, share)
    _say(f"{peer.name:12} log: {rate:.0f} MiB/s, {share:.0f} % arrived")


def _scale(peer: type[Peer], tools: Tools, count: int, settings: Settings) -> Scale:
    scale = Scale()
    try:
        with begin_fleet(peer, tools, [Child(f"a-{number}") for number in range(count)]) as fleet:
            _measure_fleet(fleet, scale, settings)
    except NotUpError as error:
        scale.notes.append(str(error))
    return scale


def _measure_fleet(fleet: Fleet, scale: Scale, settings: Settings) -> None:
    measures.up(fleet, scale, max(UP_S_AT_LEAST, UP_S_PER_CHILD * len(fleet.children)))
    fleet.wait_steady()
    measures.idle_cpu(fleet, scale, settings.idle_seconds)
    measures.memory(fleet, scale)
    measures.status(fleet, scale)
    measures.single_crashes(fleet, scale, settings.kills)
    measures.herd(fleet, scale)
    fleet.wait_steady()
    measures.stop(fleet, scale)


def _flood(peer: type[Peer], tools: Tools, mebibytes: int) -> Throughput | None:
    with open_fleet(peer, tools, [Child("a", ("flood", str(mebibytes)))]) as fleet:
        return measures.flood(fleet, mebibytes)


def _table(results: Mapping[type[Peer], Measured], count: int) -> str:
    header = ["", *(f"{peer.name} {measured.version}" for peer, measured in results.items())]
    rows = [[title, *(show(each.scales[count]) for each in results.values())] for title, show in ROWS]
    return markdown(header, rows)


def _log_table(results: Mapping[type[Peer], Measured]) -> str:
    logs = [measured.log for measured in results.values()]
    rates = ["-" if log is None else f"{log.mib_per_s:.0f} MiB/s" for log in logs]
    shares = ["-" if log is None else f"{log.arrived_percent:.0f} %" for log in logs]
    rows = [["reached the log file", *rates], ["share of what was written", *shares]]
    return markdown(["", *(peer.name for peer in results)], rows)


def _brief(scale: Scale) -> str:
    return ", ".join(f"{title} {show(scale)}" for title, show in ROWS)


def _number(value: float | None, unit: str) -> str:
    """Three significant digits: more would be noise."""
    if value is None:
        return "-"
    shown = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return f"{shown} {unit}"


def _data(
    results: Mapping[type[Peer], Measured], reasons: Mapping[type[Peer], str], settings: Settings
) -> dict[str, object]:
    return {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"kernel": platform.release(), "cpus": os.cpu_count(), "load": os.getloadavg()},
        "settings": asdict(settings),
        "supervisors": {peer.name: asdict(measured) for peer, measured in results.items()},
        "skipped": {peer.name: reason for peer, reason in reasons.items()},
    }


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
