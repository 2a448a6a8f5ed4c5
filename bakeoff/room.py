"""The room of one trial: a folder, a canary in every environment, and the proof that all is gone after."""

import atexit
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bakeoff import processes
from bakeoff.markers import MarkerFile
from bakeoff.waiting import wait_until

CANARY = "BAKEOFF_RUN"
"""Set in the environment of the supervisor and, through its configuration, of every child."""

CLEANUP_S = 30.0
OUTPUT_LIMIT = 4000

LARGE = 1 << 20
"""A larger file gives its blocks back as soon as its room is cleared."""


@dataclass(frozen=True)
class Ran:
    """A finished command: its exit code (124 when it was cut off), its output, and how long it took."""

    code: int
    output: str
    seconds: float


class LeftoverProcessError(RuntimeError):
    """Something of a trial survived its cleanup."""


class Room:
    """Where one supervisor runs once, and from where all it started is found again."""

    def __init__(self, child_binary: Path, extra_environment: dict[str, str] | None = None) -> None:
        """Makes the folder; it is short because unix socket paths are limited to 108 bytes."""
        self.path = Path(tempfile.mkdtemp(prefix="bakeoff-", dir="/tmp")).resolve()
        # An agent may run under a user of its own, which must reach the child and the marker file.
        self.path.chmod(0o755)
        self.canary = uuid.uuid4().hex
        self.child = self.path / "child"
        shutil.copy2(child_binary, self.child)
        self.markers = MarkerFile(self.path / "markers")
        self.logs = self.folder("logs")
        self.environment = {**os.environ, CANARY: self.canary, **(extra_environment or {})}
        self._spawned: list[subprocess.Popen[bytes]] = []

    def folder(self, name: str) -> Path:
        """A folder of the room, made when missing."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def child_command(self, name: str, mode: Sequence[str]) -> list[str]:
        """The command line of a child."""
        return [str(self.child), str(self.markers.path), name, *mode]

    def spawn(self, command: Sequence[str | Path]) -> "subprocess.Popen[bytes]":
        """Starts a program that stays, in a session of its own, its output kept in the room."""
        with (self.path / "supervisor.out").open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=self.path,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._spawned.append(process)
        return process

    def run(self, command: Sequence[str | Path], seconds: float = 30.0) -> Ran:
        """Runs a command to its end."""
        start = time.monotonic()
        # A file, not a pipe: a daemon the command leaves behind would keep a pipe open.
        with tempfile.TemporaryFile(dir=self.path) as output:
            process = subprocess.Popen(
                command,
                cwd=self.path,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            ended = _await_end(process.pid, seconds)
            elapsed = time.monotonic() - start
            if not ended:
                process.kill()
            code = process.wait()
            if not ended:
                code = 124
            output.seek(0)
            text = output.read().decode(errors="replace")
        return Ran(code, text, elapsed)

    def said(self) -> str:
        """The end of what the supervisor wrote, for an evidence line."""
        path = self.path / "supervisor.out"
        return path.read_text(errors="replace")[-OUTPUT_LIMIT:] if path.exists() else ""

    def members(self) -> list[int]:
        """Every living process of this room, found by its canary or by a program that lies here."""
        return [
            pid
            for pid in processes.all_pids()
            if processes.environment(pid).get(CANARY) == self.canary
            or processes.executable(pid).startswith(f"{self.path}/")
        ]

    def children(self) -> list[int]:
        """The living processes of the child program, helpers of children included."""
        return [pid for pid in self.members() if self.is_child(pid)]

    def own(self) -> list[int]:
        """The supervisor's own processes, its helpers per service included."""
        return [pid for pid in self.members() if not self.is_child(pid)]

    def is_child(self, pid: int) -> bool:
        """Whether the process lives and runs the child program of this room."""
        return processes.executable(pid) == str(self.child)

    def clear(self) -> None:
        """Kills whatever is left, proves that nothing is, and has the folder removed in the end.

        Not at once: for minutes after many files are deleted, ext4 looks at each of their inodes
        before it hands out another, and the supervisor measured next would pay for this one.
        """
        gone = wait_until(self._kill_members, CLEANUP_S, every=0.02)
        left = [] if gone else [f"{pid} {processes.executable(pid)}" for pid in self.members()]
        for process in self._spawned:
            if process.poll() is None:
                process.kill()
            process.wait()
        if left:
            raise LeftoverProcessError(f"still alive in {self.path}: {', '.join(left)}")
        atexit.register(shutil.rmtree, self.path)
        for path in self.path.rglob("*"):
            if path.is_file() and path.stat().st_size > LARGE:
                path.write_bytes(b"")

    def _kill_members(self) -> bool:
        """Kills once through, supervisors first so that they start nothing new; true when none is left."""
        members = self.members()
        members.sort(key=self.is_child)
        for pid in members:
            self._kill_member(pid)
        return not members

    def _kill_member(self, pid: int) -> None:
        """Kills through a pidfd checked after it was opened, so that a reused id is never hit."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            ours = processes.environment(pid).get(CANARY) == self.canary
            if ours or processes.executable(pid).startswith(f"{self.path}/"):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)


def _await_end(pid: int, seconds: float) -> bool:
    """Waits in the kernel: `Popen.wait` with a limit sleeps in doubling steps, which would be measured."""
    handle = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(handle)
