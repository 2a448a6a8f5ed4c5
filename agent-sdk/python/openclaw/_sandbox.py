"""Code that is run once, in a container that is there for it alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ._duration import milliseconds
from ._errors import Refused, SandboxError

if TYPE_CHECKING:
    from ._duration import Duration
    from ._link import Link


@dataclass(frozen=True)
class SandboxResult:
    """How a command ended. One that failed, or was killed, is a result too."""

    exit_code: int | None
    """Its exit code; None when a signal ended it."""
    signal: int | None
    """The signal that ended it."""
    timed_out: bool
    """Its time was over, and all that it had started was killed."""
    oom: bool
    """Something in the sandbox was killed for memory."""
    stdout_bytes: bytes
    """What it wrote to its standard output, as far as it was kept."""
    stderr_bytes: bytes
    """What it wrote to its standard error, as far as it was kept."""
    truncated: bool
    """It wrote more than is kept."""
    duration: float
    """From the call of the command to its end, in seconds."""
    cold: bool
    """No container was ready for it, so that one was made."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The files that were asked for and were there, by name."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why a file that was asked for is not among them, by name."""

    @property
    def ok(self) -> bool:
        """Whether it ended in time with exit code 0."""
        return self.exit_code == 0 and not self.timed_out

    @property
    def stdout(self) -> str:
        """Its standard output as text; what is no UTF-8 is replaced."""
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """Its standard error as text; what is no UTF-8 is replaced."""
        return self.stderr_bytes.decode(errors="replace")


class Sandbox:
    """A sandbox of the fleet file; `Forbidden` for agents that are not granted it."""

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name

    async def run(
        self,
        command: Sequence[str],
        *,
        stdin: str | bytes = b"",
        env: Mapping[str, str] | None = None,
        files: Mapping[str, str | bytes] | None = None,
        outputs: Sequence[str] = (),
        timeout: Duration | None = None,
    ) -> SandboxResult:
        """Run a program with its arguments, without a shell, and wait for its end.

        `files` are there when it starts, and `outputs` are wanted when it has ended; both go by
        names below the working directory, and have 16 MiB together at most.
        `timeout` is at most that of the sandbox. A command that fails raises nothing; SandboxError
        says that there was no sandbox for it.
        """
        if isinstance(command, str):
            raise TypeError("a command is a list: the program and its arguments")
        body: dict[str, Any] = {"command": list(command), "env": dict(env or {})}
        data = stdin.encode() if isinstance(stdin, str) else bytes(stdin)
        if data:
            body["stdin_base64"] = base64.b64encode(data).decode("ascii")
        if files:
            body["files"] = [_file(name, content) for name, content in files.items()]
        if isinstance(outputs, str):
            raise TypeError("outputs are a list of names")
        if outputs:
            body["outputs"] = list(outputs)
        if timeout is not None:
            body["timeout"] = f"{milliseconds(timeout)}ms"
        path = f"/v1/sandboxes/{quote(self._name, safe='')}/run"
        try:
            reply = await self._link.call("POST", path, json.dumps(body).encode())
        except Refused as refused:
            raise SandboxError(
                str(refused),
                refused.code,
                status=refused.status,
                detail=refused.detail,
            ) from None
        return _result(json.loads(reply.body))


def _file(name: str, content: str | bytes) -> dict[str, str]:
    data = content.encode() if isinstance(content, str) else bytes(content)
    return {"name": name, "content_base64": base64.b64encode(data).decode("ascii")}


def _result(told: dict[str, Any]) -> SandboxResult:
    return SandboxResult(
        exit_code=told.get("exit_code"),
        signal=told.get("signal"),
        timed_out=bool(told["timed_out"]),
        oom=bool(told["oom"]),
        stdout_bytes=_bytes(told, "stdout"),
        stderr_bytes=_bytes(told, "stderr"),
        truncated=bool(told["truncated"]),
        duration=told["duration_ms"] / 1000,
        cold=bool(told["cold"]),
        files={
            file["name"]: _bytes(file, "content")
            for file in told.get("files", ())
            if "problem" not in file
        },
        problems={
            file["name"]: file["problem"] for file in told.get("files", ()) if "problem" in file
        },
    )


def _bytes(told: dict[str, Any], stream: str) -> bytes:
    encoded = told.get(f"{stream}_base64")
    return str(told[stream]).encode() if encoded is None else base64.b64decode(encoded)
