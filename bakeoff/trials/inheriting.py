"""What a child gets from its supervisor without having asked for it. Settings are left at their defaults."""

from bakeoff import processes
from bakeoff.fleet import open_fleet
from bakeoff.peers.base import Child, Peer
from bakeoff.tools import Tools
from bakeoff.trials.outcome import Outcome

SECRET = "BAKEOFF_SECRET_TOKEN"
STANDARD = {0, 1, 2}


def secret_absent(kind: type[Peer], tools: Tools) -> Outcome:
    """A variable of the supervisor's environment must not reach the child."""
    with open_fleet(kind, tools, [Child("a")], {SECRET: "hunter2"}) as fleet:
        names = processes.environment(fleet.pids()["a"])
        if not names:
            raise RuntimeError("the environment of the child could not be read")
        found = SECRET in names
        return Outcome.of(not found, f"{'present' if found else 'absent'} among {len(names)} variables")


def leaked_descriptors(kind: type[Peer], tools: Tools) -> Outcome:
    """Nothing but stdin, stdout and stderr is open in the child."""
    with open_fleet(kind, tools, [Child("a"), Child("b")]) as fleet:
        # The marker file is closed again right after the line that announced the start.
        fleet.wait_steady()
        extra = {
            number: target
            for pid in fleet.pids().values()
            for number, target in processes.descriptors(pid).items()
            if number not in STANDARD
        }
    shown = ", ".join(f"{number}: {target}" for number, target in sorted(extra.items()))
    return Outcome.of(not extra, shown or "0, 1, 2 only")
