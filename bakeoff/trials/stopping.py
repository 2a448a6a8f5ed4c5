"""Does a stop leave anything behind? Three children, each harder to find than the one before."""

import time
from dataclasses import dataclass

from bakeoff import processes
from bakeoff.fleet import Fleet, open_fleet
from bakeoff.peers.base import GRACE_S, Child, Peer
from bakeoff.tools import Tools
from bakeoff.trials.outcome import Outcome
from bakeoff.waiting import seconds_since, wait_until

ALLOWED_S = GRACE_S + 1
HELPER_S = 10.0

REPORT_S = 10.0
"""The command itself may take longer: some clients are scripts that need a second to start."""


@dataclass(frozen=True)
class Stopped:
    """What was seen after a stop was asked for; the living were counted after ALLOWED_S."""

    alive: int
    ended_s: float | None
    """When the last of them ended; None when not in time."""

    code: int | None
    command_s: float | None
    says_stopped: bool | None

    def nothing_left(self) -> bool:
        """Whether all had ended in time."""
        return self.alive == 0 and self.ended_s is not None


def deaf_group_member(kind: type[Peer], tools: Tools) -> Outcome:
    """The leader ends on TERM while a member of its process group ignores it."""
    stopped = _stop(kind, tools, "deaf-group")
    reported = stopped.code == 0 and stopped.says_stopped is not False
    return Outcome.of(stopped.nothing_left() and reported, _evidence(stopped))


def own_session(kind: type[Peer], tools: Tools) -> Outcome:
    """The child of the agent made a session of its own; it would end on TERM, if it got one."""
    stopped = _stop(kind, tools, "setsid")
    return Outcome.of(stopped.nothing_left(), _evidence(stopped))


def double_fork(kind: type[Peer], tools: Tools) -> Outcome:
    """The agent left a daemon that is no longer its descendant."""
    stopped = _stop(kind, tools, "daemon")
    return Outcome.of(stopped.nothing_left(), _evidence(stopped))


def _stop(kind: type[Peer], tools: Tools, mode: str) -> Stopped:
    with open_fleet(kind, tools, [Child("a", (mode,))]) as fleet:
        if fleet.room.markers.wait_for("extra", "a", HELPER_S) is None:
            raise RuntimeError("the helper of the child did not start")
        fleet.wait_steady()
        return _watch_stop(fleet)


def _watch_stop(fleet: Fleet) -> Stopped:
    """Asks for the stop and watches, both at once: the command may return early or hang.

    The processes known before are watched, which is quick; a look at all of /proc comes once, at the end.
    """
    known = [processes.identify(pid) for pid in fleet.living()]
    asked_ns = time.monotonic_ns()
    command = fleet.peer.begin_stop("a")
    command_s: float | None = None
    ended_s: float | None = None

    def settled() -> bool:
        nonlocal command_s, ended_s
        if command_s is None and command.poll() is not None:
            command_s = seconds_since(asked_ns)
        if ended_s is None and not any(each.lives() for each in known):
            ended_s = seconds_since(asked_ns)
        return command_s is not None and ended_s is not None

    wait_until(settled, ALLOWED_S, every=0.01)
    in_time_s, alive = ended_s, len(fleet.living())
    wait_until(lambda: settled() or command_s is not None, REPORT_S, every=0.01)
    says = fleet.peer.says_stopped("a") if command_s is not None else None
    return Stopped(alive, in_time_s, command.poll(), command_s, says)


def _evidence(stopped: Stopped) -> str:
    command = "stop had not returned"
    if stopped.command_s is not None:
        command = f"stop returned {stopped.code} after {stopped.command_s:.1f} s"
    said = {True: ", status stopped", False: ", status not stopped", None: ""}[stopped.says_stopped]
    if stopped.alive:
        return f"{stopped.alive} alive after {ALLOWED_S} s; {command}{said}"
    if stopped.ended_s is None:
        return f"the last ended just after {ALLOWED_S} s; {command}{said}"
    return f"none alive after {stopped.ended_s:.1f} s; {command}{said}"
