"""pm2, from npm."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from bakeoff import processes
from bakeoff.peers.base import FIRST_DELAY_S, FOR_EVER, GRACE_S, Child, Peer, Restart
from bakeoff.room import CANARY, Ran, Room
from bakeoff.tools import Tools, UnavailableError
from bakeoff.waiting import wait_until

START_S = 300.0


class Pm2(Peer):
    """A Node daemon that forks the children; the command line starts it when it does not run."""

    name = "pm2"

    def __init__(self, tools: Tools, room: Room) -> None:
        """Gives the daemon a home of its own."""
        super().__init__(tools, room)
        self._home = room.folder("pm2")
        room.environment.update(
            PM2_HOME=str(self._home),
            PM2_DISABLE_VERSION_CHECK="true",
            PM2_DISCRETE_MODE="true",
        )

    @classmethod
    def install(cls, tools: Tools) -> str:
        """Installs the package with the machine's Node."""
        if shutil.which("npm") is None:
            raise UnavailableError("npm is not installed")
        home = tools.folder("npm")
        package = home / "node_modules/pm2/package.json"
        mark = home / "installed"
        if not mark.exists():
            tools.do(["npm", "install", "--no-audit", "--no-fund", "--prefix", home, "pm2"])
            mark.touch()
        return str(json.loads(package.read_text())["version"])

    def configure(self, children: Sequence[Child]) -> None:
        """One ecosystem file."""
        apps = [self._app(child) for child in children]
        self._file().write_text(json.dumps({"apps": apps}, indent=1))

    def supervisor_command(self) -> list[str | Path]:
        """Not the supervisor itself: the command that starts it and hands it the applications."""
        return self._control("start", str(self._file()))

    def start(self) -> None:
        """Waits until the daemon has written its process id."""
        old = self._daemon()
        self._process = self.room.spawn(self.supervisor_command())
        wait_until(lambda: self._daemon() not in (0, old), START_S)

    def main_pid(self) -> int:
        """The daemon, not the command that started it."""
        return self._daemon()

    def status_command(self) -> list[str | Path]:
        """The list, as a program reads it."""
        return self._control("jlist")

    def stop_command(self, name: str) -> list[str | Path]:
        """Waits by itself."""
        return self._control("stop", name)

    def shutdown(self) -> None:
        """Stops all applications and the daemon."""
        self.room.run(self._control("kill"), START_S)

    def apply(self, children: Sequence[Child]) -> Ran:
        """What its manual names for a changed file."""
        self.configure(children)
        return self.room.run(self._control("startOrReload", str(self._file())))

    def says_stopped(self, name: str) -> bool:
        """The list is JSON after an optional banner."""
        output = self.room.run(self._control("jlist")).output
        listed = json.loads(output[output.index("[{") :])
        return any(app["name"] == name and app["pm2_env"]["status"] == "stopped" for app in listed)

    def reported_exit(self, name: str, pid: int) -> bool:
        """Its log has a line for each exit."""
        del pid
        log = self._home / "pm2.log"
        return any(f"App [{name}:" in line and "exited" in line for line in log.read_text().splitlines())

    def log_files(self, name: str) -> list[Path]:
        """Rotation is an add-on and off."""
        return [self.room.logs / f"{name}.log"]

    def _app(self, child: Child) -> dict[str, object]:
        program, *arguments = self.room.child_command(child.name, child.mode)
        app: dict[str, object] = {
            "name": child.name,
            "script": program,
            "args": arguments,
            "interpreter": "none",
            "max_restarts": FOR_EVER,
            "kill_timeout": GRACE_S * 1000,
            "out_file": f"{self.room.logs}/{child.name}.log",
            "error_file": f"{self.room.logs}/{child.name}.err",
            "merge_logs": True,
            "vizion": False,
            "pmx": False,
            "env": {CANARY: self.room.canary},
        }
        if child.restart is Restart.GROWING:
            app["exp_backoff_restart_delay"] = int(FIRST_DELAY_S * 1000)
        return app

    def _daemon(self) -> int:
        try:
            pid = int((self._home / "pm2.pid").read_text())
        except (OSError, ValueError):
            return 0
        return pid if processes.lives(pid) else 0

    def _control(self, *words: str) -> list[str | Path]:
        return [self.tools.root / "npm/node_modules/.bin/pm2", *words]

    def _file(self) -> Path:
        return self.room.path / "ecosystem.config.json"
