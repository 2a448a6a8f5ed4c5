from __future__ import annotations

from typing import Any

import pytest
from openclaw import Agent, Forbidden, SandboxError, SandboxResult


class Coder(Agent):
    done: SandboxResult

    async def run(self) -> None:
        command = ["python3", "-c", "print(1 + 1)"]
        tools = self.sandbox("tools")
        self.done = await tools.run(command, stdin="in", env={"A": "b"}, timeout=2)


async def test_a_command_reaches_its_sandbox_and_its_result_comes_back(harness: Any) -> None:
    h = harness(Coder, sandboxes=["tools"])
    h.sandboxes.on("tools", stdout="2\n", stderr=b"\xff", truncated=True)
    await h.run()
    done = h.agent.done
    assert (done.ok, done.exit_code, done.signal, done.truncated) == (True, 0, None, True)
    assert (done.stdout, done.stderr, done.stderr_bytes) == ("2\n", "\ufffd", b"\xff")
    (call,) = h.sandboxes.calls
    assert call.command == ["python3", "-c", "print(1 + 1)"]
    assert (call.stdin, call.env, call.timeout) == (b"in", {"A": "b"}, "2000ms")


async def test_a_command_out_of_time_is_a_result_that_is_not_ok(harness: Any) -> None:
    h = harness(Coder, sandboxes=["tools"])
    h.sandboxes.on("tools", timed_out=True)
    await h.run()
    done = h.agent.done
    assert (done.ok, done.exit_code, done.signal) == (False, None, 9)


async def test_a_function_answers_each_command(harness: Any) -> None:
    h = harness(Coder, sandboxes=["tools"])
    h.sandboxes.on("tools", lambda call: {"exit_code": len(call.command)})
    await h.run()
    done = h.agent.done
    assert (done.ok, done.exit_code) == (False, 3)


async def test_without_the_grant_it_is_forbidden(harness: Any) -> None:
    with pytest.raises(Forbidden):
        await harness(Coder).run()


async def test_a_refusal_has_its_reason(harness: Any) -> None:
    h = harness(Coder, sandboxes=["tools"])
    h.sandboxes.on("tools", refused="engine_unavailable")
    with pytest.raises(SandboxError) as caught:
        await h.run()
    assert caught.value.reason == "engine_unavailable"


async def test_files_go_in_and_come_out(harness: Any) -> None:
    class Files(Agent):
        done: SandboxResult

        async def run(self) -> None:
            self.done = await self.sandbox("tools").run(
                ["sh", "a.sh"], files={"a.sh": "true", "b": b"\xff"}, outputs=["out", "gone"]
            )

    h = harness(Files, sandboxes=["tools"])
    h.sandboxes.on("tools", files={"out": b"\xfe", "unasked": b""})
    await h.run()
    (call,) = h.sandboxes.calls
    assert call.files == {"a.sh": b"true", "b": b"\xff"}
    assert call.outputs == ["out", "gone"]
    assert h.agent.done.files == {"out": b"\xfe"}
    assert h.agent.done.problems == {"gone": "there is no such file"}


async def test_outputs_are_a_list(harness: Any) -> None:
    class Careless(Agent):
        async def run(self) -> None:
            await self.sandbox("tools").run(["ls"], outputs="out")

    with pytest.raises(TypeError, match="list of names"):
        await harness(Careless, sandboxes=["tools"]).run()


async def test_a_command_is_a_list(harness: Any) -> None:
    class Careless(Agent):
        async def run(self) -> None:
            await self.sandbox("tools").run("ls -l")

    with pytest.raises(TypeError, match="the program and its arguments"):
        await harness(Careless, sandboxes=["tools"]).run()
