"""Agents in a real fleet: state through the SDK, cold starts, and what a hundred idle ones cost.

`python benches/fleet.py [--clawctl target/release/clawctl] [--agents 100] [--publisher PATH]`,
or with `--sandboxed 200` how long it takes until so many agents in sandboxes are ready.
Everything runs below a real supervisor. With `--publisher`, the program `publisher` of the
tests' crate publishes durable events of 1 KB through its agent's socket, from 1, 8 and 64
connections.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PATIENCE = 120.0
"""Seconds until a fleet that does not come up is given up."""

CONNECTIONS_OF_AN_AGENT = 8

STATE = """
import json, statistics, time
from openclaw import Agent

class Measured(Agent):
    async def run(self):
        figures = {}
        value = {"n": 1, "text": "x" * 80}
        await self.state.set("key", value)
        calls = {"get": lambda: self.state.get("key"), "set": lambda: self.state.set("key", value)}
        for name, call in calls.items():
            times = []
            for _ in range(self.config["calls"]):
                begun = time.perf_counter()
                await call()
                times.append(time.perf_counter() - begun)
            times.sort()
            figures[name] = [statistics.median(times), times[int(len(times) * 0.99)]]
        with open("figures.new", "w") as file:
            json.dump(figures, file)
        import os
        os.rename("figures.new", "figures.json")
"""

IDLE = "from openclaw import Agent\n\nclass Idle(Agent):\n    pass\n"


class Fleet:
    """A supervisor in a folder of its own."""

    def __init__(self, clawctl: Path, folder: Path, agents: str) -> None:
        self.clawctl, self.folder = clawctl, folder
        (folder / "openclaw.yaml").write_text(
            'project: bench\nversion: "1.0"\n'
            'supervisor: {listen: "off", max_concurrent_starts: 16}\n'
            f"agents:\n{agents}"
        )

    def __enter__(self) -> Fleet:
        log = (self.folder / "supervisor.log").open("w")
        self.process = subprocess.Popen(
            [self.clawctl, "up"], cwd=self.folder, stdout=log, stderr=log
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def ask(self, path: str) -> dict[str, object]:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.folder / ".openclaw" / "control.sock"))
        connection.request("GET", path)
        answer: dict[str, object] = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def await_that(self, what: str, found: Callable[[], bool], step: float = 0.02) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(OSError, http.client.HTTPException):
                if found():
                    return
            time.sleep(step)
        log = (self.folder / "supervisor.log").read_text()[-2000:]
        raise SystemExit(f"never: {what}\n{log}")

    def ready_process(self, agent: str) -> int | None:
        """The process of an agent that is ready."""
        shown = self.ask(f"/api/agents/{agent}")
        instance = shown.get("instance")
        return instance["pid"] if shown.get("ready") and isinstance(instance, dict) else None

    def is_ready(self, agent: str) -> bool:
        return self.ask(f"/api/agents/{agent}").get("ready") is True


def row(name: str, figures: str) -> None:
    print(f"{name:44} {figures}", flush=True)


def state(clawctl: Path, calls: int) -> None:
    agent = (
        "  measured:\n    source: measured.py\n"
        "    resources: {state_writes_per_minute: 60000000}\n"
        f"    config: {{calls: {calls}}}\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "measured.py").write_text(STATE)
        figures = folder / "figures.json"
        with Fleet(clawctl, folder, agent) as fleet:
            fleet.await_that("the agent is ready", lambda: fleet.is_ready("measured"))
            trigger = [str(clawctl), "trigger", "measured"]
            subprocess.run(trigger, cwd=folder, check=True, capture_output=True)
            fleet.await_that("the figures", figures.exists)
        for call, (p50, p99) in json.loads(figures.read_text()).items():
            row(f"state {call} from Python", f"p50 {p50 * 1e3:.3f} ms  p99 {p99 * 1e3:.3f} ms")


def cold_starts(clawctl: Path, rounds: int) -> None:
    policy = "{policy: always, backoff: immediate, jitter: 0%, max_retries: 1000}"
    agent = f"  cold: {{source: idle.py, restart_policy: {policy}}}\n"
    times = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "idle.py").write_text(IDLE)
        with Fleet(clawctl, folder, agent) as fleet:
            for _ in range(rounds):
                fleet.await_that("the agent is ready", lambda: fleet.is_ready("cold"))
                process = fleet.ready_process("cold")
                assert process is not None
                begun = time.perf_counter()
                os.kill(process, signal.SIGKILL)

                def is_back(gone: int = process) -> bool:
                    return fleet.ready_process("cold") not in (None, gone)

                fleet.await_that("the agent is back", is_back, 0.002)
                times.append((time.perf_counter() - begun) * 1e3)
    best, median = min(times), statistics.median(times)
    row("killed, until a new process is ready", f"p50 {median:.0f} ms  best {best:.0f} ms")


def idle(clawctl: Path, count: int) -> None:
    agents = "".join(f"  idle-{number}: {{source: idle.py}}\n" for number in range(count))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "idle.py").write_text(IDLE)
        begun = time.perf_counter()
        with Fleet(clawctl, folder, agents) as fleet:

            def all_ready() -> bool:
                listed = fleet.ask("/api/agents")["agents"]
                assert isinstance(listed, list)
                return len(listed) == count and all(agent["ready"] for agent in listed)

            fleet.await_that("all agents are ready", all_ready)
            row(f"{count} agents, until all are ready", f"{time.perf_counter() - begun:.2f} s")
            time.sleep(5)
            supervisor = fleet.process.pid
            before, since = processor_time(supervisor), time.perf_counter()
            time.sleep(10)
            after = processor_time(supervisor)
            used = sum(after[task] - before.get(task, 0) for task in after)
            percent = used / (time.perf_counter() - since) / 1e7
            figures = f"{pss(supervisor):.1f} MiB, {percent:.2f} % of a core"
            row(f"{count} agents at rest, the supervisor's process", figures)


def sandboxed(clawctl: Path, count: int) -> None:
    """So many agents in sandboxes come up, every second one with a list of hosts."""
    agents = "".join(
        f"  boxed-{number}: {{command: [/bin/sleep, '1000'], sandbox: {{mode: process, "
        f"allowed_network: [{'' if number % 2 else 'api.example.com'}]}}}}\n"
        for number in range(count)
    )
    with tempfile.TemporaryDirectory() as name:
        # Their users are none that could enter a folder of ours.
        Path(name).chmod(0o755)
        begun = time.perf_counter()
        with Fleet(clawctl, Path(name), agents) as fleet:

            def all_ready() -> bool:
                listed = fleet.ask("/api/agents")["agents"]
                assert isinstance(listed, list)
                return len(listed) == count and all(agent["ready"] for agent in listed)

            fleet.await_that("all agents are ready", all_ready, 0.05)
            took = time.perf_counter() - begun
            row(f"{count} sandboxed agents, until all are ready", f"{took:.2f} s")
            files = len(list(Path(f"/proc/{fleet.process.pid}/fd").iterdir()))
            row(f"{count} sandboxed agents, files the supervisor has open", str(files))
            begun = time.perf_counter()
        row(f"{count} sandboxed agents, until all are down", f"{time.perf_counter() - begun:.2f} s")


def processor_time(pid: int) -> dict[str, int]:
    """How long each thread of a process has run, in nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks}


def pss(pid: int) -> float:
    """The memory of a process in MiB, shared pages by share."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    line = next(line for line in rollup if line.startswith("Pss:"))
    return int(line.split()[1]) / 1024


def published(clawctl: Path, publisher: Path, connections: int, seconds: int) -> None:
    """Several agents, since each is held to its rate of requests."""
    count = max(1, connections // CONNECTIONS_OF_AN_AGENT)
    command = [str(publisher), str(connections // count), str(seconds), "figures-$NUMBER"]
    agents = "".join(
        f"  publisher-{number}:\n"
        f"    command: {json.dumps(command).replace('$NUMBER', str(number))}\n"
        "    restart_policy: {policy: never}\n    resources: {events_per_minute: 60000000}\n"
        for number in range(count)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / f"figures-{number}" for number in range(count)]
        with Fleet(clawctl, folder, agents) as fleet:
            fleet.await_that("the figures", lambda: all(file.exists() for file in files))
        found = [json.loads(file.read_text()) for file in files]
    rate = sum(one["per_second"] for one in found)
    p50, p99 = (statistics.median(one[quantile] for one in found) for quantile in ("p50", "p99"))
    figures = f"{rate:.0f} events/s  p50 {p50:.3f} ms  p99 {p99:.3f} ms"
    row(f"events through sockets, {connections} at a time", figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).parents[3]
    parser.add_argument("--clawctl", type=Path, default=root / "target/release/clawctl")
    parser.add_argument("--publisher", type=Path, help="the program of that name")
    parser.add_argument("--agents", type=int, default=100, help="idle ones")
    parser.add_argument("--calls", type=int, default=5000, help="of each operation on state")
    parser.add_argument("--rounds", type=int, default=11, help="cold starts")
    parser.add_argument("--seconds", type=int, default=5, help="of publishing")
    parser.add_argument("--sandboxed", type=int, help="so many in sandboxes, and nothing else")
    options = parser.parse_args()
    clawctl = options.clawctl.resolve()
    if options.sandboxed:
        sandboxed(clawctl, options.sandboxed)
        return
    state(clawctl, options.calls)
    cold_starts(clawctl, options.rounds)
    idle(clawctl, options.agents)
    if options.publisher:
        for connections in (1, 8, 64):
            published(clawctl, options.publisher.resolve(), connections, options.seconds)


if __name__ == "__main__":
    main()
