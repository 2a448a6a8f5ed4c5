"""supervisord, from PyPI."""

from collections.abc import Sequence
from pathlib import Path

from bakeoff.peers.base import GRACE_S, Child, Peer
from bakeoff.room import CANARY, Ran
from bakeoff.tools import Tools


class Supervisord(Peer):
    """One Python process that forks the children and drains their pipes."""

    name = "supervisord"

    @classmethod
    def install(cls, tools: Tools) -> str:
        """Installs the package `supervisor`."""
        return tools.do([tools.python("supervisor") / "supervisord", "--version"]).strip()

    def configure(self, children: Sequence[Child]) -> None:
        """Group stop and group kill are on: its strongest settings against leftovers."""
        head = f"""\
[unix_http_server]
file = {self.room.path}/s.sock
[supervisord]
logfile = {self._log()}
logfile_maxbytes = 0
pidfile = {self.room.path}/supervisord.pid
childlogdir = {self.room.logs}
minfds = {len(children) * 4 + 1024}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl = unix://{self.room.path}/s.sock
"""
        self._file().write_text(head + "".join(self._program(child) for child in children))

    def supervisor_command(self) -> list[str | Path]:
        """In the foreground."""
        return [self._bin("supervisord"), "-n", "-c", self._file()]

    def status_command(self) -> list[str | Path]:
        """All programs."""
        return self._control("status")

    def stop_command(self, name: str) -> list[str | Path]:
        """Waits by itself."""
        return self._control("stop", name)

    def shutdown(self) -> None:
        """Returns before the end."""
        self.room.run(self._control("shutdown"))

    def apply(self, children: Sequence[Child]) -> Ran:
        """`update` restarts what changed."""
        self.configure(children)
        return self.room.run(self._control("update"))

    def says_stopped(self, name: str) -> bool:
        """The second word of the status line."""
        return "STOPPED" in self.room.run(self._control("status", name)).output

    def reported_exit(self, name: str, pid: int) -> bool:
        """Its log has a line for each exit, long before the restart."""
        del pid
        log = self._log()
        return log.exists() and f"exited: {name} " in log.read_text()

    def log_files(self, name: str) -> list[Path]:
        """Rotation is off."""
        return [self.room.logs / f"{name}.log"]

    def _program(self, child: Child) -> str:
        return f"""\
[program:{child.name}]
command = {" ".join(self.room.child_command(child.name, child.mode))}
environment = {CANARY}="{self.room.canary}"
autorestart = true
stopwaitsecs = {GRACE_S}
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = {self.room.logs}/{child.name}.log
stdout_logfile_maxbytes = 0
"""

    def _control(self, *words: str) -> list[str | Path]:
        return [self._bin("supervisorctl"), "-c", self._file(), *words]

    def _bin(self, program: str) -> Path:
        return self.tools.python("supervisor") / program

    def _file(self) -> Path:
        return self.room.path / "supervisord.conf"

    def _log(self) -> Path:
        return self.room.path / "supervisord.log"
