"""The measurements, each over a running fleet; None where it cannot be had."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bakeoff import processes
from bakeoff.fleet import Fleet
from bakeoff.peers.base import NotOfferedError
from bakeoff.trials.idling import cpu_percent
from bakeoff.waiting import NANOSECONDS, seconds_since, wait_until

STATUS_CALLS = 20
RESTART_S = 30.0
HERD_S = 120.0
STOP_S = 120.0
FLOOD_S = 60.0

QUIET_S = 2.0
"""A log that did not grow for so long after the child wrote its last line is as long as it will be."""


@dataclass
class Scale:
    """The results with one number of children; times in seconds unless the name says otherwise."""

    up_s: float | None = None
    memory_mib: float | None = None
    processes: int | None = None
    idle_cpu_percent: float | None = None
    restart_ms: float | None = None
    restart_worst_ms: float | None = None
    herd_s: float | None = None
    status_ms: float | None = None
    stop_s: float | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Throughput:
    """What reached the log of a child that writes as fast as it can."""

    mib_per_s: float
    arrived_percent: float


def memory(fleet: Fleet, scale: Scale) -> None:
    """Proportional set size of all own processes, helpers per service included, children excluded."""
    own = fleet.room.own()
    scale.processes = len(own)
    scale.memory_mib = processes.proportional_kib(own) / 1024


def idle_cpu(fleet: Fleet, scale: Scale, seconds: float) -> None:
    """Percent of one core while nothing happens."""
    scale.idle_cpu_percent = cpu_percent(fleet, seconds)


def status(fleet: Fleet, scale: Scale) -> None:
    """The median time of the command that shows all children, its own start included."""
    try:
        command = fleet.peer.status_command()
    except NotOfferedError as error:
        scale.notes.append(f"status: {error}")
        return
    ran = [fleet.room.run(command) for _ in range(STATUS_CALLS)]
    if failed := next((each for each in ran if each.code != 0), None):
        scale.notes.append(f"status exited with {failed.code}: {failed.output.strip()[-120:]}")
        return
    scale.status_ms = statistics.median(each.seconds for each in ran) * 1000


def single_crashes(fleet: Fleet, scale: Scale, kills: int) -> None:
    """Kills one child after the other; from the kill to the first act of the successor."""
    names = [child.name for child in fleet.children]
    step = max(1, len(names) // kills)
    taken = []
    for name in names[::step][:kills]:
        killed_ns = fleet.signal(name)
        successor = fleet.room.markers.wait_for("start", name, RESTART_S, killed_ns)
        if successor is None:
            scale.notes.append(f"{name} was not started again within {RESTART_S:.0f} s")
            return
        taken.append((successor.at_ns - killed_ns) / 1e6)
    scale.restart_ms = statistics.median(taken)
    scale.restart_worst_ms = max(taken)


def herd(fleet: Fleet, scale: Scale) -> None:
    """Kills all at once; from the first kill to the first act of the last successor."""
    fleet.wait_steady()
    pids = [pid for pid in fleet.pids().values() if fleet.room.is_child(pid)]
    killed_ns = time.monotonic_ns()
    for pid in pids:
        processes.kill(pid)
    wanted = len(fleet.children)
    markers = fleet.room.markers
    wait_until(lambda: len(markers.started_since(killed_ns)) >= wanted, HERD_S, every=0.01)
    back = markers.started_since(killed_ns)
    if len(back) < wanted:
        scale.notes.append(f"{len(back)} of {wanted} back {HERD_S:.0f} s after all were killed")
        return
    scale.herd_s = (max(marker.at_ns for marker in back.values()) - killed_ns) / NANOSECONDS


def stop(fleet: Fleet, scale: Scale) -> None:
    """From the order to the end of the last process, the supervisor's own included."""
    # Looking through all of /proc takes longer than some supervisors take to stop.
    known = [processes.identify(pid) for pid in fleet.room.members()]
    asked_ns = time.monotonic_ns()
    fleet.peer.shutdown()
    if not wait_until(lambda: not any(each.lives() for each in known), STOP_S):
        alive = sum(each.lives() for each in known)
        scale.notes.append(f"{alive} processes alive {STOP_S:.0f} s after the stop")
        return
    scale.stop_s = seconds_since(asked_ns)
    if left := fleet.room.members():
        scale.notes.append(f"{len(left)} processes alive after the stop")
        scale.stop_s = None


def up(fleet: Fleet, scale: Scale, seconds: float) -> None:
    """From the start of the supervisor to the first act of the last child."""
    fleet.wait_up(seconds)
    starts = fleet.room.markers.latest_starts().values()
    scale.up_s = (max(marker.at_ns for marker in starts) - fleet.began_ns) / NANOSECONDS


class LogSize:
    """Bytes that ever reached the log of a child: a file rotated away keeps counting."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        """Follows the files of one child."""
        self._fleet = fleet
        self._name = name
        self._largest: dict[int | str, int] = {}

    def total(self) -> int:
        """The sum over all files seen so far."""
        for path in self._fleet.peer.log_files(self._name):
            try:
                entry = path.stat()
            except OSError:
                continue
            # A renamed file keeps its number; a number freed by a deletion is soon another file's.
            key = path.name if self._fleet.peer.keeps_log_names else entry.st_ino
            self._largest[key] = max(entry.st_size, self._largest.get(key, 0))
        return sum(self._largest.values())


def flood(fleet: Fleet, mebibytes: int) -> Throughput | None:
    """From the start of the child until its log holds everything or stops growing."""
    name = fleet.children[0].name
    expected = mebibytes * 1024 * 1024 // 100 * 100
    began_ns = fleet.room.markers.latest_starts()[name].at_ns
    size = LogSize(fleet, name)
    last, last_ns, done = 0, began_ns, False

    def arrived() -> bool:
        nonlocal last, last_ns, done
        now = size.total()
        if now > last:
            last, last_ns = now, time.monotonic_ns()
        done = done or bool(fleet.room.markers.of("done", name))
        return now >= expected or (done and seconds_since(last_ns) > QUIET_S)

    wait_until(arrived, FLOOD_S)
    if last == 0:
        return None
    rate = last / (1024 * 1024) / ((last_ns - began_ns) / NANOSECONDS)
    return Throughput(rate, 100.0 * last / expected)


def medians(rounds: Sequence[Scale]) -> Scale:
    """The median of each figure over the rounds that have it; all notes."""
    result = Scale(notes=[note for each in rounds for note in each.notes])
    for key in vars(Scale()):
        values = [value for each in rounds if isinstance(value := getattr(each, key), int | float)]
        if values:
            setattr(result, key, statistics.median(values))
    return result
