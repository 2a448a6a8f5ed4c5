"""A changed configuration touches only what changed."""

import time

from bakeoff.fleet import open_fleet
from bakeoff.peers.base import Child, NotOfferedError, Peer
from bakeoff.tools import Tools
from bakeoff.trials.outcome import Outcome, Verdict
from bakeoff.waiting import holds_for

APPLY_S = 15.0
WATCH_S = 3.0


def change_one_of_three(kind: type[Peer], tools: Tools) -> Outcome:
    """The second of three children gets another argument."""
    before = [Child("a"), Child("b"), Child("c")]
    after = [Child("a"), Child("b", ("sleep", "changed")), Child("c")]
    with open_fleet(kind, tools, before) as fleet:
        fleet.wait_steady()
        old = fleet.pids()
        asked_ns = time.monotonic_ns()
        try:
            applied = fleet.peer.apply(after)
        except NotOfferedError as error:
            return Outcome(Verdict.NOT_OFFERED, str(error))
        if applied.code != 0:
            last = (applied.output.strip().splitlines() or [""])[-1]
            return Outcome.of(False, f"apply exited with {applied.code}: {last[:120]}")
        if fleet.room.markers.wait_for("start", "b", APPLY_S, asked_ns) is None:
            return Outcome.of(False, "the changed child was not started again")
        kept = holds_for(lambda: fleet.pids() | {"b": 0} == old | {"b": 0}, WATCH_S)
        lost = [name for name in ("a", "c") if fleet.pids()[name] != old[name] or not fleet.lives(name)]
        text = f"{' and '.join(lost)} restarted too" if lost else "b restarted, a and c kept their pids"
        return Outcome.of(kept and not lost, text)
