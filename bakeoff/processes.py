"""What /proc says about processes: who lives, whose they are, what they cost."""

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

STATE = 0
STARTED = 19
"""Positions in `/proc/PID/stat`, counted from behind the name."""


def all_pids() -> Iterator[int]:
    """Yields the id of every process, zombies included."""
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            yield int(entry.name)


def environment(pid: int) -> dict[str, str]:
    """The environment the process was started with; empty for a zombie, a stranger or a dead one."""
    try:
        raw = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in raw.decode(errors="replace").split("\0") if item)
    return {key: value for key, _, value in pairs}


def executable(pid: int) -> str:
    """The path of the running program; empty for a zombie or a dead process."""
    try:
        return str((PROC / str(pid) / "exe").readlink()).removesuffix(" (deleted)")
    except OSError:
        return ""


@dataclass(frozen=True)
class Identity:
    """A process told from a later one with the same number: by the clock tick it was started in."""

    pid: int
    started: str

    def lives(self) -> bool:
        """True unless this very process is gone or a zombie."""
        return lives(self.pid) and identify(self.pid) == self


def identify(pid: int) -> Identity:
    """Who has this number now; nobody has no start."""
    fields = _stat(pid)
    return Identity(pid, fields[STARTED] if fields else "")


def state(pid: int) -> str:
    """The one-letter state of the process, empty when there is none."""
    fields = _stat(pid)
    return fields[STATE] if fields else ""


def lives(pid: int) -> bool:
    """True unless the process is gone or a zombie."""
    return state(pid) not in ("", "Z", "X")


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may itself hold parentheses and spaces."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def proportional_kib(pids: Iterable[int]) -> int:
    """Sum of the proportional set sizes: memory shared among the processes counts once."""
    return sum(_proportional_kib(pid) for pid in pids)


def _proportional_kib(pid: int) -> int:
    try:
        rollup = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def cpu_ns(pids: Iterable[int]) -> dict[int, int]:
    """Nanoseconds on a processor so far, by thread; `stat` counts in ticks of 10 ms, too coarse here."""
    return {thread: used for pid in pids for thread, used in _cpu_ns(pid)}


def cpu_ns_between(before: dict[int, int], after: dict[int, int]) -> int:
    """What was used in between; of a thread that ended meanwhile nothing is known."""
    return sum(used - before.get(thread, 0) for thread, used in after.items())


def _cpu_ns(pid: int) -> Iterator[tuple[int, int]]:
    try:
        tasks = list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return
    for task in tasks:
        try:
            yield int(task.name), int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue


def descriptors(pid: int) -> dict[int, str]:
    """Open file descriptors and what they point to."""
    found: dict[int, str] = {}
    try:
        links = list((PROC / str(pid) / "fd").iterdir())
    except OSError:
        return found
    for link in links:
        try:
            found[int(link.name)] = str(link.readlink())
        except OSError:
            continue
    return found


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> bool:
    """Signals a process; False when it was already gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
