"""Weeks of a supervisor in minutes: what it takes over many restarts, many runs and many logs.

Each of the three has a supervisor of its own, which is looked at from outside; the samples become
`docs/curves.svg`, and their figures are printed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from reliability.plot import Curve, draw

ROOT = Path(__file__).resolve().parents[2]

PACE = 1.0
"""Seconds between two looks."""

WARM = 0.2
"""The part of all that is done before which a curve may still rise."""

RESTARTING = 16
"""Agents that end at once, side by side."""

WORKERS = 4
CALLERS = 8

WORKER = """
from openclaw import Agent

class Worker(Agent):
    async def run(self):
        return 1
"""


@dataclass(frozen=True)
class Sample:
    """What a supervisor takes after so much was done."""

    done: int
    memory: int
    descriptors: int
    threads: int
    disk: int


class Fleet:
    """A supervisor in a folder of its own."""

    def __init__(self, clawctl: Path, folder: Path, agents: str) -> None:
        self.clawctl, self.folder = clawctl, folder
        (folder / "openclaw.yaml").write_text(
            'project: weeks\nversion: "1.0"\n'
            'supervisor: {listen: "off", max_concurrent_starts: 16}\n'
            f"defaults: {{sandbox: {{mode: none}}}}\nagents:\n{agents}"
        )

    def __enter__(self) -> Fleet:
        log = (self.folder / "supervisor.log").open("w")
        self.process = subprocess.Popen(
            [self.clawctl, "up"],
            cwd=self.folder,
            env={**os.environ, "OPENCLAW_LOG_LEVEL": "error"},
            stdout=log,
            stderr=log,
        )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/api/ready")[0] == 200:
                    return self
            time.sleep(0.05)
        raise SystemExit((self.folder / "supervisor.log").read_text())

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def connection(self) -> http.client.HTTPConnection:
        """A connection to the control socket."""
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.folder / ".openclaw/control.sock"))
        return connection

    def ask(self, method: str, path: str) -> tuple[int, str]:
        """The status and text of one request."""
        connection = self.connection()
        connection.request(method, path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def agents(self) -> list[dict[str, object]]:
        """All agents, as the API lists them."""
        listed: list[dict[str, object]] = json.loads(self.ask("GET", "/api/agents")[1])["agents"]
        return listed

    def sample(self, done: int) -> Sample:
        """What the supervisor takes now."""
        own = Path(f"/proc/{self.process.pid}")
        fields = dict(
            line.split(":", 1)
            for name in ("smaps_rollup", "status")
            for line in (own / name).read_text().splitlines()
            if ":" in line
        )
        return Sample(
            done=done,
            memory=int(fields["Pss"].split()[0]) * 1024,
            descriptors=len(list((own / "fd").iterdir())),
            threads=int(fields["Threads"]),
            disk=size(self.folder / ".openclaw"),
        )


def size(folder: Path) -> int:
    """The bytes that the files below a folder take on disk."""
    total = 0
    for path in folder.rglob("*"):
        # Files come and go while they are looked at.
        with suppress(OSError):
            total += path.lstat().st_blocks * 512
    return total


def watch(fleet: Fleet, counted: Callable[[], int], wanted: int, seconds: float) -> list[Sample]:
    """Looks at a supervisor until so much is done, or the time is over."""
    end = time.monotonic() + seconds
    samples = [fleet.sample(counted())]
    while samples[-1].done < wanted and time.monotonic() < end:
        time.sleep(PACE)
        samples.append(fleet.sample(counted()))
    return samples


def restarts(clawctl: Path, folder: Path, wanted: int, seconds: float) -> list[Sample]:
    """Agents that end at once and are started again at once."""
    policy = "restart_policy: {policy: always, max_retries: unlimited, backoff: immediate}"
    agents = "".join(
        f"  short-{number}: {{command: ['true'], {policy}}}\n" for number in range(RESTARTING)
    )
    with Fleet(clawctl, folder, agents) as fleet:

        def counted() -> int:
            return sum(int(str(agent["restarts"])) for agent in fleet.agents())

        return watch(fleet, counted, wanted, seconds)


def runs(clawctl: Path, folder: Path, wanted: int, seconds: float) -> list[Sample]:
    """Workers of the Python SDK that are triggered again and again, each run waited for."""
    (folder / "worker.py").write_text(WORKER)
    keys = "source: worker.py, schedule: {every: 1h, run_on_start: false}"
    agents = "".join(f"  worker-{number}: {{{keys}}}\n" for number in range(WORKERS))
    done = [0] * CALLERS
    over = threading.Event()

    def call(fleet: Fleet, caller: int) -> None:
        connection = fleet.connection()
        while not over.is_set():
            connection.request("POST", f"/api/agents/worker-{caller % WORKERS}/trigger?wait=30s")
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{answer.status}: {text!r}")
            done[caller] += 1

    with Fleet(clawctl, folder, agents) as fleet:
        callers = [threading.Thread(target=call, args=(fleet, n)) for n in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            return watch(fleet, lambda: sum(done), wanted, seconds)
        finally:
            over.set()
            for caller in callers:
                caller.join()


def logs(clawctl: Path, folder: Path, wanted: int, seconds: float) -> list[Sample]:
    """An agent that prints as much as is taken; its shim writes and rotates it."""
    line = "0123456789abcdef" * 6
    pace = "logging: {max_size: 16Mi, max_files: 4}"
    counts = folder / "counts"
    program = (
        "import os\n"
        f"counts = os.open({str(counts)!r}, os.O_CREAT | os.O_WRONLY)\n"
        f"block = b'{line}\\n' * 10000\n"
        "done = 0\n"
        "while True:\n"
        "    rest = memoryview(block)\n"
        "    while rest:\n"
        "        rest = rest[os.write(1, rest):]\n"
        "    done += len(block)\n"
        # In place, so that it is never read half.
        "    os.pwrite(counts, b'%020d' % done, 0)\n"
    )
    (folder / "flood.py").write_text(program)
    agents = f"  flood: {{command: [python3, flood.py], {pace}}}\n"
    with Fleet(clawctl, folder, agents) as fleet:

        def counted() -> int:
            with suppress(OSError, ValueError):
                return int(counts.read_text())
            return 0

        return watch(fleet, counted, wanted, seconds)


KINDS = {
    "restarts": (restarts, 100_000),
    "runs": (runs, 1_000_000),
    "bytes of logs": (logs, 10_000_000_000),
}


FIGURES: tuple[tuple[str, Callable[[Sample], int], int], ...] = (
    ("memory, MiB", lambda sample: sample.memory, 2**20),
    ("descriptors", lambda sample: sample.descriptors, 1),
    ("threads", lambda sample: sample.threads, 1),
    ("data directory, MiB", lambda sample: sample.disk, 2**20),
)


def rise(samples: list[Sample], of: Callable[[Sample], int]) -> tuple[int, int]:
    """The middle of the first and of the last fifth after the warm-up."""
    warm = [of(sample) for sample in samples if sample.done >= WARM * samples[-1].done]
    part = max(1, len(warm) // 5)

    def middle(values: list[int]) -> int:
        return sorted(values)[len(values) // 2]

    return middle(warm[:part]), middle(warm[-part:])


def told(kind: str, samples: list[Sample], seconds: float) -> str:
    """A row of a table: what was done, and how each figure went on."""
    last = samples[-1]

    cells = [f"{last.done:,} {kind}", f"{seconds:.0f}"]
    for _, of, unit in FIGURES:
        first, end = rise(samples, of)
        digits = 0 if unit == 1 else 1
        cells.append(f"{first / unit:.{digits}f} → {end / unit:.{digits}f}")
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Measures, draws, and prints the table."""
    parser = argparse.ArgumentParser(prog="scripts/curves", description=__doc__)
    parser.add_argument("--clawctl", type=Path, default=ROOT / "target/release/clawctl")
    parser.add_argument("--minutes", type=float, default=20.0, help="for each kind at most")
    parser.add_argument("--only", choices=list(KINDS), action="append")
    parser.add_argument("--samples", type=Path, help="keep them here, and take those that are")
    parser.add_argument("--svg", type=Path, help="docs/curves.svg, where all kinds are there")
    arguments = parser.parse_args()
    kept: dict[str, list[list[float]]] = {}
    if arguments.samples and arguments.samples.exists():
        kept = json.loads(arguments.samples.read_text())
    for kind in arguments.only or list(KINDS):
        measure, wanted = KINDS[kind]
        with tempfile.TemporaryDirectory(prefix="claw-weeks-") as name:
            begun = time.monotonic()
            samples = measure(
                arguments.clawctl.resolve(), Path(name), wanted, 60.0 * arguments.minutes
            )
            spent = time.monotonic() - begun
        kept[kind] = [[spent], *([float(v) for v in astuple(sample)] for sample in samples)]
        print(told(kind, samples, spent), file=sys.stderr, flush=True)
        if arguments.samples:
            arguments.samples.write_text(json.dumps(kept))
    # A picture of a part never replaces that of the whole by itself.
    whole = ROOT / "docs/curves.svg" if kept.keys() >= KINDS.keys() else None
    report(kept, arguments.svg or whole)
    return 0


def report(kept: dict[str, list[list[float]]], svg: Path | None) -> None:
    """Prints the table of all that was measured, and draws it where it is told to."""
    print("| done | s | memory, MiB | descriptors | threads | data directory, MiB |")
    print("|---|---|---|---|---|---|")
    curves = []
    for kind, (spent, *rows) in kept.items():
        samples = [Sample(*(int(value) for value in row)) for row in rows]
        print(told(kind, samples, spent[0]))
        for title, of, unit in FIGURES:
            points = [(float(sample.done), of(sample) / unit) for sample in samples]
            curves.append(Curve(kind, title, points))
    if svg:
        svg.write_text(draw(curves))


if __name__ == "__main__":
    sys.exit(main())
