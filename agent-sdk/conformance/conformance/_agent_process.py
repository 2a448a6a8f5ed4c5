"""The process under test, and the world it lives in."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from ._patience import within
from ._supervisor import AGENT, INSTANCE, TOKEN, Supervisor

# Long, for machines where tests come last.
READY_SECONDS = 60.0
EXIT_SECONDS = 10.0


class World:
    """A supervisor with one agent process: `async with World(command) as world`."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-")
        self._path = Path(self._folder.name) / "agent.sock"
        self.supervisor = Supervisor(self._path)
        self._process: asyncio.subprocess.Process | None = None
        self.output: bytes = b""

    async def __aenter__(self) -> World:
        await self.supervisor.start()
        return self

    async def __aexit__(self, *_: Any) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
        if process is not None:
            output, _errors = await process.communicate()
            self.output = output or b""
        await self.supervisor.vanish()
        self._folder.cleanup()

    async def launch(self, **environment: str) -> None:
        """Start the agent."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env={
                **os.environ,
                "OPENCLAW_SOCK": str(self._path),
                "OPENCLAW_TOKEN": TOKEN,
                "OPENCLAW_AGENT": AGENT,
                "OPENCLAW_INSTANCE": INSTANCE,
                "OPENCLAW_REPLICA": "0",
                "OPENCLAW_PROTOCOL": "1",
                **environment,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def ready(self) -> Supervisor:
        """Start the agent and wait until it is ready."""
        await self.launch()
        await self.supervisor.wait_for("ready", lambda: self.supervisor.ready, READY_SECONDS)
        return self.supervisor

    async def assert_lives(self) -> None:
        """Fail, with what the process has printed, when it has ended."""
        process = self._process
        if process is not None and process.returncode is not None:
            output, _errors = await process.communicate()
            said = (output or b"").decode("utf-8", "replace")
            raise AssertionError(f"the process exited with {process.returncode}: {said}")

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self._process is not None, "a signal is for a process that was launched"
        self._process.send_signal(number)

    async def exit_code(self, seconds: float = EXIT_SECONDS) -> int:
        """Wait for the process to end."""
        assert self._process is not None, "only what was launched can end"
        try:
            return await within(seconds, self._process.wait())
        except TimeoutError:
            raise AssertionError(f"the process did not exit within {seconds:g} s") from None
