"""What every supervisor must offer to be compared."""

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar

from bakeoff import processes
from bakeoff.room import Ran, Room
from bakeoff.tools import Tools
from bakeoff.waiting import wait_until

GRACE_S = 2
"""Time between the polite signal and SIGKILL, set alike in every configuration that has it."""

FOR_EVER = 1_000_000
"""Restart attempts where a supervisor wants a number: none may give up on a child during a measurement."""

FIRST_DELAY_S = 0.5
DELAY_CAP_S = 4.0


class Restart(Enum):
    """How a child is to be started again after it ended."""

    PROMPT = "prompt"
    """With as little delay as the supervisor allows."""

    GROWING = "growing"
    """With a delay that grows from FIRST_DELAY_S to DELAY_CAP_S, as far as the supervisor offers it."""


@dataclass(frozen=True)
class Child:
    """One supervised child."""

    name: str
    mode: tuple[str, ...] = ("sleep",)
    restart: Restart = Restart.PROMPT


class NotOfferedError(Exception):
    """The supervisor has no such operation; the message says what its users do instead."""


class Peer(ABC):
    """One supervisor in one room. The methods that every supervisor shares are here, once."""

    name: ClassVar[str]

    loop_life_ms: ClassVar[int] = 2000
    """How long the child of the crash-loop trial lives. Where the first delay and the cap cannot be scaled
    down the life is not either: 2 s is longer than the second that most take for the mark of a good start."""

    keeps_log_names: ClassVar[bool] = False
    """Whether a log file has the same name for as long as it exists."""

    def __init__(self, tools: Tools, room: Room) -> None:
        """Binds the installed supervisor to a room."""
        self.tools = tools
        self.room = room
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @abstractmethod
    def install(cls, tools: Tools) -> str:
        """Installs into the cache unless done before; answers the version or raises UnavailableError."""

    @abstractmethod
    def configure(self, children: Sequence[Child]) -> None:
        """Writes the configuration for these children, over an earlier one."""

    @abstractmethod
    def supervisor_command(self) -> list[str | Path]:
        """The command that runs the supervisor in the foreground."""

    @abstractmethod
    def status_command(self) -> list[str | Path]:
        """The command that shows the status of all children; raises NotOfferedError."""

    @abstractmethod
    def stop_command(self, name: str) -> list[str | Path]:
        """The command that stops one child and waits for its end; raises NotOfferedError."""

    @abstractmethod
    def shutdown(self) -> None:
        """Asks for the orderly end of the supervisor and of all children."""

    @abstractmethod
    def log_files(self, name: str) -> list[Path]:
        """The files that hold the output of a child."""

    def apply(self, children: Sequence[Child]) -> Ran:
        """Writes a changed configuration and makes the running supervisor follow it."""
        del children
        raise NotOfferedError(f"{self.name} has no command that applies a changed configuration")

    def start(self) -> None:
        """Starts the supervisor; it may not be up yet when this returns."""
        self._process = self.room.spawn(self.supervisor_command())

    def main_pid(self) -> int:
        """The process a user would call the supervisor."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    def kill_supervisor(self) -> None:
        """SIGKILLs the supervisor and waits until it is gone; what it started is left alone."""
        pid = self.main_pid()
        processes.kill(pid)
        if self._process is not None and self._process.pid == pid:
            self._process.wait()
        if not wait_until(lambda: not processes.lives(pid), 10.0):
            raise RuntimeError(f"{self.name} (process {pid}) outlived SIGKILL")

    def begin_stop(self, name: str) -> "subprocess.Popen[bytes]":
        """Starts the stop of one child; the process answered ends when the supervisor calls it done."""
        return self.room.spawn(self.stop_command(name))

    def says_stopped(self, name: str) -> bool | None:
        """Whether the supervisor reports the child as stopped; None when it has no way to tell."""
        del name
        return None

    def reported_exit(self, name: str, pid: int) -> bool:
        """Whether the supervisor's own log or status already shows that this process ended."""
        del name, pid
        return False

    def tidy(self) -> None:  # noqa: B027  most supervisors leave nothing, and say so by not overriding
        """Removes what killing alone would leave behind, such as control groups."""

    def signal_main(self, number: signal.Signals) -> None:
        """Sends a signal to the supervisor."""
        processes.kill(self.main_pid(), number)
