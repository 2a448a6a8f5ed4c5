"""Sandboxes of a harness: a test says what comes of each command."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .._errors import from_problem


@dataclass(frozen=True)
class SandboxCall:
    """A command that an agent had run."""

    sandbox: str
    command: list[str]
    stdin: bytes
    env: dict[str, str]
    timeout: str | None
    files: dict[str, bytes] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)


@dataclass
class SandboxScript:
    """What commands come to; by default they succeed and write nothing."""

    calls: list[SandboxCall] = field(default_factory=list)
    _answers: dict[str, Callable[[SandboxCall], dict[str, Any]]] = field(default_factory=dict)

    def on(
        self,
        sandbox: str,
        answer: Callable[[SandboxCall], dict[str, Any]] | None = None,
        **result: Any,
    ) -> None:
        """Say what comes of commands in a sandbox.

        Either by fields of the result, such as `stdout="2"` or `exit_code=1`, or by a function that
        gets each call and returns them. `files={"a": b"1"}` come out if they are asked for, and
        `refused="sandbox_busy"` has the call refused.
        """
        self._answers[sandbox] = answer or (lambda _call: dict(result))

    def run(self, sandbox: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a request as the supervisor does."""
        call = SandboxCall(
            sandbox,
            body["command"],
            base64.b64decode(body.get("stdin_base64", "")),
            body.get("env") or {},
            body.get("timeout"),
            {
                file["name"]: base64.b64decode(file["content_base64"])
                for file in body.get("files", ())
            },
            body.get("outputs", []),
        )
        self.calls.append(call)
        answer = self._answers.get(sandbox)
        fields = answer(call) if answer else {}
        if "refused" in fields:
            reason = fields["refused"]
            message = f"the sandbox refused: {reason}"
            problem = {"code": "refused", "message": message, "detail": {"reason": reason}}
            raise from_problem(409, problem)
        result = {
            "exit_code": None if "signal" in fields or fields.get("timed_out") else 0,
            "signal": 9 if fields.get("timed_out") else None,
            "timed_out": False,
            "oom": False,
            "stdout": "",
            "stderr": "",
            "truncated": False,
            "duration_ms": 1,
            "cold": False,
            **fields,
        }
        there = result.pop("files", {})
        result["files"] = [_out(name, there.get(name)) for name in call.outputs]
        for stream in ("stdout", "stderr"):
            if isinstance(result[stream], bytes):
                result[f"{stream}_base64"] = base64.b64encode(result[stream]).decode("ascii")
                result[stream] = result[stream].decode(errors="replace")
        return result


def _out(name: str, content: str | bytes | None) -> dict[str, str]:
    if content is None:
        return {"name": name, "problem": "there is no such file"}
    data = content.encode() if isinstance(content, str) else content
    return {
        "name": name,
        "content": data.decode(errors="replace"),
        "content_base64": base64.b64encode(data).decode("ascii"),
    }
