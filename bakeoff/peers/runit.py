"""runit, from Debian."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from bakeoff.peers.base import GRACE_S, Child, NotOfferedError, Peer
from bakeoff.room import CANARY
from bakeoff.tools import Tools

SETTLED_FOLDER_AGE_S = 60


class Runit(Peer):
    """`runsvdir` over one `runsv` and one `svlogd` per service."""

    name = "runit"

    @classmethod
    def install(cls, tools: Tools) -> str:
        """Unpacks the package; its archive names the version."""
        home = tools.debian("runit", ["runit"])
        return next(home.glob("archives/runit_*.deb")).name.split("_")[1]

    def configure(self, children: Sequence[Child]) -> None:
        """A run script and a log script per service."""
        for child in children:
            service = self.room.folder(f"service/{child.name}")
            command = " ".join(self.room.child_command(child.name, child.mode))
            _script(service / "run", f"exec 2>&1\nexport {CANARY}={self.room.canary}\nexec {command}")
            self._keep_output(child.name)
        # runsvdir sleeps for a second when its folder changed within the last one, which only a
        # configuration written a moment before meets.
        past = self._services().stat().st_mtime - SETTLED_FOLDER_AGE_S
        os.utime(self._services(), (past, past))

    def _keep_output(self, name: str) -> None:
        """A logger is a service of its own, tied to the first by a pipe."""
        log = self.room.folder(f"service/{name}/log")
        kept = self.room.folder(f"logs/{name}")
        # Neither rotate nor delete: the throughput measurement counts what reaches the file.
        (kept / "config").write_text("s0\nn0\n")
        _script(log / "run", f"exec {self._bin('svlogd')} {kept}")

    def supervisor_command(self) -> list[str | Path]:
        """As Debian starts it; it finds `runsv` on the path."""
        binaries = self._bin("runsvdir").parent
        self.room.environment["PATH"] = f"{binaries}:{os.environ['PATH']}"
        return [self._bin("runsvdir"), "-P", self._services()]

    def status_command(self) -> list[str | Path]:
        """All services in one call, as its users write it."""
        return [self._bin("sv"), "status", *sorted(self._services().iterdir())]

    def stop_command(self, name: str) -> list[str | Path]:
        """TERM, then KILL after the grace period."""
        return [self._bin("sv"), "-w", str(GRACE_S), "force-stop", self._services() / name]

    def shutdown(self) -> None:
        """HUP makes runsvdir send TERM to every runsv, which end their services and themselves."""
        self.signal_main(signal.SIGHUP)

    def says_stopped(self, name: str) -> bool:
        """The first word of the status."""
        return self.room.run([self._bin("sv"), "status", self._services() / name]).output.startswith("down:")

    def reported_exit(self, name: str, pid: int) -> bool:
        """The file every other tool reads; empty while the service is down."""
        shown = (self._services() / name / "supervise" / "pid").read_text().strip()
        return shown != str(pid)

    def log_files(self, name: str) -> list[Path]:
        """The current file and, had it rotated, the older ones."""
        folder = self.room.logs / name
        return [*folder.glob("current"), *folder.glob("@*")]

    def _services(self) -> Path:
        return self.room.path / "service"

    def _bin(self, program: str) -> Path:
        return self.tools.debian("runit", ["runit"]) / "usr/bin" / program


class BareRunit(Runit):
    """Without the loggers, so that the cost of keeping output can be told from that of supervising."""

    name = "runit-bare"

    def _keep_output(self, name: str) -> None:
        """Leaves the output where that of runsvdir goes."""

    def log_files(self, name: str) -> list[Path]:
        """There are none."""
        raise NotOfferedError(f"{self.name} keeps no output of {name}")


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
