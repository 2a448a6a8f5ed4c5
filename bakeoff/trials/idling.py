"""What it costs to look after agents that do nothing."""

import time

from bakeoff import processes
from bakeoff.fleet import Fleet, open_fleet
from bakeoff.peers.base import Child, Peer
from bakeoff.tools import Tools
from bakeoff.trials.outcome import Outcome
from bakeoff.waiting import seconds_since, wait_until

AGENTS = 50
MEASURE_S = 10.0
# What we promise: 20 MiB for the supervisor and 0.2 MiB for each agent.
MEMORY_LIMIT_MIB = 20.0 + 0.2 * AGENTS
CPU_LIMIT_PERCENT = 0.2


def idle_cost(kind: type[Peer], tools: Tools) -> Outcome:
    """Memory and processor time of all its own processes, without the children."""
    with open_fleet(kind, tools, [Child(f"a-{number}") for number in range(AGENTS)]) as fleet:
        fleet.wait_steady()
        cpu = cpu_percent(fleet, MEASURE_S)
        own = fleet.room.own()
        memory = processes.proportional_kib(own) / 1024
    text = f"{memory:.1f} MiB PSS in {len(own)} processes, {cpu:.2f} % CPU"
    return Outcome.of(memory <= MEMORY_LIMIT_MIB and cpu <= CPU_LIMIT_PERCENT, text)


def cpu_percent(fleet: Fleet, seconds: float) -> float:
    """Share of one core used by the supervisor's own processes over some seconds."""
    own = fleet.room.own()
    start_ns = time.monotonic_ns()
    before = processes.cpu_ns(own)
    wait_until(lambda: seconds_since(start_ns) >= seconds, seconds + 1, every=0.05)
    used = processes.cpu_ns_between(before, processes.cpu_ns(own))
    return 100.0 * used / (time.monotonic_ns() - start_ns)
