"""Our own supervisor: the one place that knows its commands, its fleet file and its folders."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from bakeoff.peers.base import DELAY_CAP_S, FIRST_DELAY_S, FOR_EVER, GRACE_S, Child, Peer, Restart
from bakeoff.room import CANARY, Ran, Room
from bakeoff.tools import Tools, UnavailableError

DOWN_S = 60.0


class OpenClaw(Peer):
    """`clawctl up`, one `spawner`, and one shim per agent, all of them the executable `clawctl`."""

    name = "openclaw"
    loop_life_ms = 200
    keeps_log_names = True

    binary: ClassVar[Path] = Path("target/release/clawctl")
    """Set from the command line before anything runs."""

    def __init__(self, tools: Tools, room: Room) -> None:
        """Copies the executable into the room: its processes are then known by their program alone,
        even where they were started with an empty environment."""
        super().__init__(tools, room)
        self._clawctl = room.path / "clawctl"
        shutil.copy2(self.binary, self._clawctl)

    @classmethod
    def install(cls, tools: Tools) -> str:
        """Installs nothing: the launcher builds it from the tree."""
        if not cls.binary.is_file():
            raise UnavailableError(f"not built: {cls.binary} does not exist")
        words = tools.do([cls.binary, "--version"]).split()
        if not words:
            raise UnavailableError(f"not built: {cls.binary} prints no version")
        return words[-1]

    def configure(self, children: Sequence[Child]) -> None:
        """Every agent under `agents:`; JSON strings are YAML strings."""
        head = """\
project: bakeoff
version: "1.0"
supervisor: {listen: "off", reload: off, max_concurrent_starts: 1000}
agents:
"""
        self._file().write_text(head + "".join(self._agent(child) for child in children))

    def supervisor_command(self) -> list[str | Path]:
        """In the foreground."""
        return self._control("up")

    def status_command(self) -> list[str | Path]:
        """All agents, as the table a user reads."""
        return self._control("status")

    def stop_command(self, name: str) -> list[str | Path]:
        """Waits for the end of the agent."""
        return self._control("stop", name)

    def shutdown(self) -> None:
        """Stops the agents, then the supervisor."""
        self.room.run(self._control("down"), DOWN_S)

    def apply(self, children: Sequence[Child]) -> Ran:
        """Reads the fleet file again and restarts what changed."""
        self.configure(children)
        return self.room.run(self._control("apply"))

    def says_stopped(self, name: str) -> bool:
        """By the list for programs."""
        ran = self.room.run(self._control("status", "--output", "json"))
        if ran.code != 0:
            raise RuntimeError(f"`clawctl status` exited with {ran.code}: {ran.output.strip()[-200:]}")
        listed = json.loads(ran.output)
        return any(agent["name"] == name and agent["state"] == "stopped" for agent in listed)

    def log_files(self, name: str) -> list[Path]:
        """The raw output, rotated files included."""
        return list((self.room.path / ".openclaw/agents" / name / "log/lane-0").glob("*.log"))

    def tidy(self) -> None:
        """An orderly end also removes control groups, which killing would leave."""
        self.shutdown()

    def _agent(self, child: Child) -> str:
        return f"""\
  {child.name}:
    command: {json.dumps(self.room.child_command(child.name, child.mode))}
    mode: daemon
    env: {{{CANARY}: {json.dumps(self.room.canary)}}}
    restart_policy: {_restart_policy(child.restart)}
    graceful_shutdown: {{timeout: {GRACE_S}s, signal: SIGTERM}}
    sandbox: {{mode: none}}
"""

    def _control(self, *words: str) -> list[str | Path]:
        return [self._clawctl, *words]

    def _file(self) -> Path:
        return self.room.path / "openclaw.yaml"


def _restart_policy(restart: Restart) -> str:
    always = f"policy: always, max_retries: {FOR_EVER}, jitter: 0%"
    if restart is Restart.PROMPT:
        return f"{{{always}, backoff: immediate}}"
    first = f"{FIRST_DELAY_S * 1000:.0f}ms"
    cap = f"{DELAY_CAP_S * 1000:.0f}ms"
    return f"{{{always}, backoff: exponential, initial_delay: {first}, max_delay: {cap}}}"
