"""Horust, from crates.io."""

import json
import signal
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

from bakeoff.peers.base import FIRST_DELAY_S, FOR_EVER, GRACE_S, Child, NotOfferedError, Peer, Restart
from bakeoff.room import CANARY
from bakeoff.tools import Tools


class Horust(Peer):
    """One Rust process; children write to their log files themselves."""

    name = "horust"

    @classmethod
    def install(cls, tools: Tools) -> str:
        """Builds it with the lock file of its release; needs `protoc` on some releases."""
        program = cls._program(tools)
        if not program.exists():
            tools.do(["cargo", "install", "horust", "--locked", "--root", tools.root / "horust"])
        # It has no option that prints its version; cargo keeps a record beside the programs.
        records = tomllib.loads((tools.root / "horust/.crates.toml").read_text())["v1"]
        return next(str(key).split()[1] for key in records if key.startswith("horust "))

    def configure(self, children: Sequence[Child]) -> None:
        """One file per service."""
        services = self.room.folder("services")
        for child in children:
            (services / f"{child.name}.toml").write_text(self._service(child))

    def supervisor_command(self) -> list[str | Path]:
        """In the foreground."""
        sockets = self.room.folder("sockets")
        services = self.room.path / "services"
        return [self._program(self.tools), "--services-path", services, "--uds-folder-path", sockets]

    def status_command(self) -> list[str | Path]:
        """Its control program is not part of the crate."""
        raise NotOfferedError("the crate holds no control program")

    def stop_command(self, name: str) -> list[str | Path]:
        """There is none for one service."""
        raise NotOfferedError(f"no command stops {name} alone")

    def begin_stop(self, name: str) -> "subprocess.Popen[bytes]":
        """Stopping one service is stopping the supervisor, which is done when it has ended."""
        del name
        self.shutdown()
        if self._process is None:
            raise RuntimeError("horust was not started")
        return self._process

    def shutdown(self) -> None:
        """TERM ends the services, then itself."""
        self.signal_main(signal.SIGTERM)

    def log_files(self, name: str) -> list[Path]:
        """Rotation is off."""
        return [self.room.logs / f"{name}.log"]

    def _service(self, child: Child) -> str:
        command = json.dumps(" ".join(self.room.child_command(child.name, child.mode)))
        log = json.dumps(f"{self.room.logs}/{child.name}.log")
        backoff_ms = int(FIRST_DELAY_S * 1000) if child.restart is Restart.GROWING else 0
        return f"""\
command = {command}
stdout = {log}
stderr = "STDERR"
[restart]
strategy = "always"
backoff = "{backoff_ms}ms"
attempts = {FOR_EVER}
[failure]
strategy = "ignore"
[termination]
wait = "{GRACE_S}s"
[environment]
additional = {{ {CANARY} = "{self.room.canary}" }}
"""

    @staticmethod
    def _program(tools: Tools) -> Path:
        return tools.root / "horust" / "bin" / "horust"
