"""s6, from Debian."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from bakeoff.peers.base import GRACE_S, Child, NotOfferedError, Peer
from bakeoff.room import CANARY
from bakeoff.tools import Tools, UnavailableError

LARGEST_LOG_BYTES = 268_435_455
"""The highest size s6-log accepts before it rotates."""

PROGRAMS = "usr/bin"

OVERLAY = """\
for part in "$0"/usr/bin "$0"/usr/lib/*-linux-gnu*; do
  place=${part#"$0"}
  mount -t overlay overlay -o "lowerdir=$part:$place" "$place" || exit 1
done
exec "$@"
"""
"""Debian builds s6 to find its other programs in /usr/bin and nowhere else, and starts one of them with an
empty environment. In a mount namespace of its own it finds all without being installed on this machine."""


class S6(Peer):
    """`s6-svscan` over an `s6-supervise` for each service and for each `s6-log`."""

    name = "s6"

    _service_limit = 0

    @classmethod
    def install(cls, tools: Tools) -> str:
        """Unpacks the package and those it needs, whose names carry versions that differ by release."""
        home = tools.debian("s6", ["s6", *_library_packages(tools)])
        if not (home / PROGRAMS / "s6-svscan").exists():
            raise UnavailableError("the Debian package s6 holds no s6-svscan")
        tools.do(_seeing_its_programs(home, ["/bin/true"]))
        return next(home.glob("archives/s6_*.deb")).name.split("_")[1]

    def configure(self, children: Sequence[Child]) -> None:
        """With a kill of the process group after the grace period, its strongest setting."""
        for child in children:
            service = self.room.folder(f"service/{child.name}")
            command = " ".join(self.room.child_command(child.name, child.mode))
            _script(service / "run", f"exec 2>&1\nexport {CANARY}={self.room.canary}\nexec {command}")
            (service / "timeout-kill").write_text(f"{GRACE_S * 1000}\n")
            (service / "flag-timeout-killpg").touch()
            self._keep_output(child.name)
        # Its default of 500 would leave the rest unstarted; a logger counts as a service.
        self._service_limit = len(children) * 2 + 100

    def _keep_output(self, name: str) -> None:
        """A logger is a service of its own, tied to the first by a pipe."""
        log = self.room.folder(f"service/{name}/log")
        _script(log / "run", f"exec s6-log n1000 s{LARGEST_LOG_BYTES} {self.room.logs}/{name}")

    def supervisor_command(self) -> list[str | Path]:
        """The process becomes s6-svscan itself: neither the shell nor `unshare` stays."""
        home = self._home()
        # For the status command, which runs outside of the namespace.
        self.room.environment["PATH"] = f"{home / PROGRAMS}:{os.environ['PATH']}"
        self.room.environment["LD_LIBRARY_PATH"] = str(next(home.glob("usr/lib/*-linux-gnu*")))
        scan: list[str | Path] = ["s6-svscan", "-c", str(self._service_limit), self._services()]
        return _seeing_its_programs(home, scan)

    def status_command(self) -> list[str | Path]:
        """One call per service: there is no command for all."""
        loop = f'for service in {self._services()}/*; do s6-svstat "$service"; done'
        return ["/bin/sh", "-c", loop]

    def stop_command(self, name: str) -> list[str | Path]:
        """Down, and wait for it a little longer than the grace period."""
        wait_ms = str(GRACE_S * 1000 + 900)
        down: list[str | Path] = ["s6-svc", "-wd", "-T", wait_ms, "-d", self._services() / name]
        return _seeing_its_programs(self._home(), down)

    def shutdown(self) -> None:
        """Ends the services, then s6-svscan."""
        self.room.run([self._home() / PROGRAMS / "s6-svscanctl", "-t", self._services()])

    def says_stopped(self, name: str) -> bool:
        """The first word of the status."""
        return self._status_of(name).startswith("down")

    def reported_exit(self, name: str, pid: int) -> bool:
        """The status names the process while it is up."""
        return f"(pid {pid})" not in self._status_of(name)

    def log_files(self, name: str) -> list[Path]:
        """The current file and the rotated ones."""
        folder = self.room.logs / name
        return [*folder.glob("current"), *folder.glob("@*")]

    def _status_of(self, name: str) -> str:
        return self.room.run([self._home() / PROGRAMS / "s6-svstat", self._services() / name]).output

    def _services(self) -> Path:
        return self.room.path / "service"

    def _home(self) -> Path:
        return self.tools.root / "s6"


class BareS6(S6):
    """Without the loggers, so that the cost of keeping output can be told from that of supervising."""

    name = "s6-bare"

    def _keep_output(self, name: str) -> None:
        """Leaves the output where that of s6-svscan goes."""

    def log_files(self, name: str) -> list[Path]:
        """There are none."""
        raise NotOfferedError(f"{self.name} keeps no output of {name}")


def _seeing_its_programs(home: Path, command: Sequence[str | Path]) -> list[str | Path]:
    alone: list[str | Path] = ["unshare", "--mount", "--propagation", "private"]
    return [*alone, "/bin/sh", "-c", OVERLAY, home, *command]


def _library_packages(tools: Tools) -> list[str]:
    if (tools.root / "s6" / "installed").exists():
        return []
    return sorted(
        set(re.findall(r"^  Depends: (lib(?:execline|s6|skarnet)\S+)", _dependencies(tools), re.MULTILINE))
    )


def _dependencies(tools: Tools) -> str:
    command = ["apt-cache", "depends", "s6"]
    try:
        return tools.do(command)
    except UnavailableError:
        tools.do(["apt-get", "update"])
        return tools.do(command)


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
