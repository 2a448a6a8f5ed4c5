"""circus, from PyPI."""

from collections.abc import Sequence
from pathlib import Path

from bakeoff.peers.base import GRACE_S, Child, Peer
from bakeoff.room import CANARY, Ran
from bakeoff.tools import Tools

CHECK_DELAY_S = 1.0
"""How often it looks for ended children; the default of 5 s would only make it look worse."""


class Circus(Peer):
    """One Python process, controlled over ZeroMQ."""

    name = "circus"

    @classmethod
    def install(cls, tools: Tools) -> str:
        """Installs the package `circus`."""
        return tools.do([tools.python("circus") / "circusd", "--version"]).strip()

    def configure(self, children: Sequence[Child]) -> None:
        """Unix sockets, and no multicast group for the discovery of other circus daemons."""
        head = f"""\
[circus]
check_delay = {CHECK_DELAY_S}
endpoint = {self._endpoint()}
pubsub_endpoint = ipc://{self.room.path}/p.sock
multicast_endpoint =
"""
        self._file().write_text(head + "".join(self._watcher(child) for child in children))

    def supervisor_command(self) -> list[str | Path]:
        """In the foreground."""
        return [self._bin("circusd"), self._file()]

    def status_command(self) -> list[str | Path]:
        """All watchers."""
        return self._control("status")

    def stop_command(self, name: str) -> list[str | Path]:
        """With the option to wait."""
        return self._control("stop", name, "--waiting")

    def shutdown(self) -> None:
        """Ends the arbiter."""
        self.room.run(self._control("quit"))

    def apply(self, children: Sequence[Child]) -> Ran:
        """`reloadconfig` restarts what changed."""
        self.configure(children)
        return self.room.run(self._control("reloadconfig", "--waiting"))

    def says_stopped(self, name: str) -> bool:
        """One word."""
        return "stopped" in self.room.run(self._control("status", name)).output

    def log_files(self, name: str) -> list[Path]:
        """Rotation is off."""
        return [self.room.logs / f"{name}.log"]

    def _watcher(self, child: Child) -> str:
        program, *arguments = self.room.child_command(child.name, child.mode)
        return f"""\
[watcher:{child.name}]
cmd = {program}
args = {" ".join(arguments)}
max_retry = -1
graceful_timeout = {GRACE_S}
stop_children = true
stdout_stream.class = FileStream
stdout_stream.filename = {self.room.logs}/{child.name}.log
[env:{child.name}]
{CANARY} = {self.room.canary}
"""

    def _control(self, *words: str) -> list[str | Path]:
        return [self._bin("circusctl"), "--endpoint", self._endpoint(), "--timeout", "30", *words]

    def _endpoint(self) -> str:
        return f"ipc://{self.room.path}/c.sock"

    def _bin(self, program: str) -> Path:
        return self.tools.python("circus") / program

    def _file(self) -> Path:
        return self.room.path / "circus.ini"
