"""When is an ended child started again?"""

import signal
import statistics
import time
from collections.abc import Sequence

from bakeoff.fleet import Fleet, open_fleet
from bakeoff.markers import Marker
from bakeoff.peers.base import Child, Peer, Restart
from bakeoff.tools import Tools
from bakeoff.trials.outcome import Outcome
from bakeoff.waiting import NANOSECONDS, wait_until

WANTED_GAPS = 6
"""With 0.5 s doubling to 4 s: 0.5, 1, 2, 4, 4, 4, so the cap is seen to stay."""

LOOP_S = 45.0
"""Six gaps of a peer whose child lives 2 s and whose delays grow to 4 s take 25 s."""

TOLERANCE = 0.75
"""A gap may be that much shorter than the longest before it: timers of a busy machine are late, not early."""

NOTICED_MS = 50.0
ATTEMPTS = 5


def gaps_grow(kind: type[Peer], tools: Tools) -> Outcome:
    """A child that ends for ever must be started ever less often, and never be given up."""
    child = Child("a", ("lives", str(kind.loop_life_ms)), Restart.GROWING)
    with open_fleet(kind, tools, [child]) as fleet:
        wait_until(lambda: len(_gaps(fleet.room.markers.all())) >= WANTED_GAPS, LOOP_S, every=0.05)
        gaps = _gaps(fleet.room.markers.all())
    shown = " ".join(f"{gap:.2f}" for gap in gaps[:WANTED_GAPS])
    reason = judge_gaps(gaps)
    life_s = kind.loop_life_ms / 1000
    return Outcome.of(not reason, f"{reason or 'growing'}; child lives {life_s:g} s, gaps {shown} s")


def judge_gaps(gaps: Sequence[float]) -> str:
    """Says what is wrong with the gaps between the end of a child and its next start; empty when nothing."""
    if len(gaps) < WANTED_GAPS:
        return f"only {len(gaps)} restarts in {LOOP_S:.0f} s"
    if max(gaps) < 2 * max(gaps[0], 0.05):
        return "flat"
    longest = 0.0
    for gap in gaps:
        if gap < longest * TOLERANCE:
            return "fell back"
        longest = max(longest, gap)
    return ""


def _gaps(markers: Sequence[Marker]) -> list[float]:
    gaps = []
    exited_ns: int | None = None
    for marker in markers:
        if marker.kind == "exit":
            exited_ns = marker.at_ns
        elif marker.kind == "start" and exited_ns is not None:
            gaps.append((marker.at_ns - exited_ns) / NANOSECONDS)
            exited_ns = None
    return gaps


def exit_noticed(kind: type[Peer], tools: Tools) -> Outcome:
    """The end of the main process counts, not the end of its output."""
    children = [Child(f"a-{number}", ("holder",)) for number in range(ATTEMPTS)]
    with open_fleet(kind, tools, children) as fleet:
        for child in children:
            if fleet.room.markers.wait_for("armed", child.name, 10.0) is None:
                raise RuntimeError(f"{child.name} did not arm")
        fleet.wait_steady()
        noticed = [_notice_ms(fleet, child.name) for child in children]
    ways = {way for _, way in noticed}
    median = statistics.median(after_ms for after_ms, _ in noticed)
    if median == float("inf"):
        return Outcome.of(False, f"not noticed within {LOOP_S:.0f} s")
    worst = max(after_ms for after_ms, _ in noticed)
    text = f"median {median:.1f} ms, worst {worst:.0f} ms of {ATTEMPTS}, by its {' or '.join(sorted(ways))}"
    return Outcome.of(median <= NOTICED_MS, text)


def _notice_ms(fleet: Fleet, name: str) -> tuple[float, str]:
    """Milliseconds from the last act of the child to the restart or to the supervisor's own report of the
    exit, whichever is seen first: a supervisor that restarts late on purpose is judged by its report."""
    markers = fleet.room.markers
    pid = fleet.pids()[name]
    told_ns = fleet.signal(name, signal.SIGUSR1)
    exited = markers.wait_for("exit", name, 10.0, told_ns)
    if exited is None:
        raise RuntimeError(f"{name} did not exit when told")

    def seen() -> tuple[float, str] | None:
        started = markers.of("start", name)[-1]
        if started.at_ns > exited.at_ns:
            return (started.at_ns - exited.at_ns) / 1e6, "restart"
        if fleet.peer.reported_exit(name, pid):
            return (time.monotonic_ns() - exited.at_ns) / 1e6, "report"
        return None

    return wait_until(seen, LOOP_S) or (float("inf"), "silence")
