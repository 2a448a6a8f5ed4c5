"""The supervisor dies without a word and is started again."""

from bakeoff.fleet import Fleet, open_fleet
from bakeoff.peers.base import Child, Peer
from bakeoff.tools import Tools
from bakeoff.trials.outcome import Outcome
from bakeoff.waiting import holds_for, wait_until

COPIES = 5
WATCH_S = 6.0
"""Long enough for the slowest start (Python or Node on a busy machine) and a retry of the locks of runit."""

RESTART_S = 15.0


def supervisor_killed(kind: type[Peer], tools: Tools) -> Outcome:
    """Exactly the same processes must run, and the new supervisor must really look after them."""
    with open_fleet(kind, tools, [Child(f"a-{number}") for number in range(COPIES)]) as fleet:
        fleet.wait_steady()
        before = fleet.living()
        fleet.peer.kill_supervisor()
        fleet.peer.start()
        if not holds_for(lambda: fleet.living() == before, WATCH_S):
            # What differs first may be a child on its way out: count what it comes to.
            wait_until(lambda: len(fleet.living()) >= 2 * COPIES, WATCH_S, every=0.05)
            after = fleet.living()
            kept = len(after & before)
            return Outcome.of(False, f"{len(after)} copies of {COPIES}: {kept} old, {len(after) - kept} new")
        return _is_looked_after(fleet)


def _is_looked_after(fleet: Fleet) -> Outcome:
    killed_ns = fleet.signal("a-0")
    successor = fleet.room.markers.wait_for("start", "a-0", RESTART_S, killed_ns)
    if successor is None:
        return Outcome.of(False, f"{COPIES} copies, same pids, but a killed one was not started again")
    living = len(fleet.living())
    after_ms = (successor.at_ns - killed_ns) / 1e6
    text = f"{COPIES} copies, same pids; one killed then came back after {after_ms:.0f} ms"
    return Outcome.of(living == COPIES, text if living == COPIES else f"{text}, {living} copies now")
