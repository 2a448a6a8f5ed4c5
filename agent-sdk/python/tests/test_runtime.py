"""The package as a process: against the reference server of the conformance program."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from conformance._agent_process import World
from conformance._patience import within
from conformance._scenarios import SCENARIOS

ROOT = Path(__file__).parents[1]
AGENT = ROOT.parent / "conformance" / "agent.py"
SCENARIO_SECONDS = 60


def command(path: Path) -> list[str]:
    return [
        "env",
        f"PYTHONPATH={ROOT}",
        sys.executable,
        "-W",
        "error",
        "-m",
        "openclaw",
        "run",
        str(path),
    ]


@pytest.mark.parametrize("name", SCENARIOS)
async def test_conformance(name: str) -> None:
    world = World(command(AGENT))
    async with world:
        await within(SCENARIO_SECONDS, SCENARIOS[name](world))
    assert world.supervisor.violations == []


def write(folder: Path, body: str) -> Path:
    path = folder / "author.py"
    path.write_text(body)
    return path


async def outcome(path: Path, **environment: str) -> tuple[int, World]:
    world = World(command(path))
    async with world:
        await world.launch(**environment)
        code = await world.exit_code()
    return code, world


async def test_a_failed_setup_is_reported_and_exits_1(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "from openclaw import Agent\nclass A(Agent):\n"
        "    async def setup(self): raise OSError('no database')\n",
    )
    code, world = await outcome(path)
    assert code == 1
    assert world.supervisor.failed_setup is not None
    assert world.supervisor.failed_setup["type"] == "OSError"
    assert b"no database" in world.output


async def test_a_wrong_token_ends_the_process(tmp_path: Path) -> None:
    code, world = await outcome(AGENT, OPENCLAW_TOKEN="stolen")
    assert code == 1
    assert b"unauthorized" in world.output or b"refuses" in world.output


async def test_output_is_json_lines_with_the_config_s_secrets_hidden(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "from openclaw import Agent\nclass A(Agent):\n"
        "    async def run(self):\n"
        "        self.logger.info('greeting is %s', self.config.greeting)\n"
        "        print('plain')\n",
    )
    world = World(command(path))
    world.supervisor.extra_fields = {"config": {"greeting": "s3cr3t"}, "secrets": ["greeting"]}
    async with world:
        supervisor = await world.ready()
        await supervisor.done(await supervisor.submit("run", []))
        await supervisor.say("stop", timeout_ms=2000)
        await world.exit_code()
    lines = world.output.decode().splitlines()
    assert "plain" in lines
    [line] = [json.loads(text) for text in lines if "greeting" in text]
    assert line["message"] == "greeting is ***"
    assert line["agent"] == "conformance"
    assert line["run"].startswith("r_")
    assert line["trace"] == "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_everything_an_author_calls_goes_over_the_socket(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "from openclaw import Agent, Alert\nclass A(Agent):\n"
        "    async def setup(self): self.metrics.gauge('started', 1)\n"
        "    async def run(self):\n"
        "        other = self.state.read_from('other')\n"
        "        async with self.state.transaction() as tx:\n"
        "            tx.set('ids', other.get('ids', set()) | {'b'})\n"
        "            tx.emit('changed', {'n': 1})\n"
        "        await self.shared_state.set('level', (1, 2))\n"
        "        await self.emit('plain', key='k', delay='1m')\n"
        "        await self.alert(Alert('down', 'critical', {}, 'd'))\n"
        "        await self.status('half', 0.5)\n"
        "        self.metrics.counter('runs', zone='eu')\n"
        "        await self.state.set('ttl', 1, ttl='1h')\n"
        "        await self.state.delete('ttl')\n"
        "        nobody = await self.state.read_from('nobody')\n"
        "        return [sorted(await self.state.keys()), len(nobody)]\n",
    )
    world = World(command(path))
    world.supervisor.others = {"other": {"ids": {"$set": ["a"]}}}
    async with world:
        supervisor = await world.ready()
        done = await supervisor.done(await supervisor.submit("run", []))
        await supervisor.wait_for("metrics", lambda: len(supervisor.metrics) == 2, 5)
    assert done.get("error") is None
    assert done["result"] == [["ids"], 0]
    assert supervisor.state.value("ids") == {"$set": ["a", "b"]}
    assert supervisor.shared.value("level") == {"$tuple": [1, 2]}
    assert [(e["name"], e["data"], e.get("key"), e.get("delay_ms")) for e in supervisor.events] == [
        ("changed", {"n": 1}, None, None),
        ("plain", None, "k", 60_000),
    ]
    assert [alert["dedup_key"] for alert in supervisor.alerts] == ["d"]
    assert done["metrics"] == [
        {"name": "runs", "kind": "counter", "value": 1, "labels": {"zone": "eu"}}
    ]
    assert [r.query for r in supervisor.requests if r.method == "PUT"][-1] == {"ttl_ms": "3600000"}
    traced = [r for r in supervisor.requests if "traceparent" in r.headers]
    assert {"/v1/state:batch", "/v1/shared/level", "/v1/events"} <= {r.path for r in traced}


async def test_setup_and_probes_are_limited_in_time(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "import asyncio\nfrom openclaw import Agent\nclass A(Agent):\n"
        "    async def readiness_check(self): await asyncio.Event().wait()\n"
        "    def liveness_check(self): raise OSError('ill')\n",
    )
    world = World(command(path))
    async with world:
        supervisor = await world.ready()
        hanging = await supervisor.say("probe", probe="readiness", timeout_ms=300)
        failing = await supervisor.say("probe", probe="liveness", timeout_ms=300)
        ready, live = await supervisor.answer(hanging, 5), await supervisor.answer(failing, 5)
    assert (ready["ok"], live["ok"], live["detail"]) == (False, False, "OSError: ill")
    path.write_text(
        "import asyncio\nfrom openclaw import Agent\nclass A(Agent):\n"
        "    async def setup(self): await asyncio.Event().wait()\n"
    )
    world = World(command(path))
    world.supervisor.extra_fields = {"limits": {"setup_ms": 200}}
    async with world:
        await world.launch()
        assert await world.exit_code() == 1
    assert world.supervisor.failed_setup is not None
    assert "0.2 s" in world.supervisor.failed_setup["message"]


async def test_a_thread_that_does_not_end_does_not_keep_the_process(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "import threading\nfrom openclaw import Agent\nclass A(Agent):\n"
        "    def run(self):\n"
        "        self.wait(self.state.set('begun', True))\n"
        "        threading.Event().wait()\n",
    )
    world = World(command(path))
    async with world:
        supervisor = await world.ready()
        work = await supervisor.submit("run", [])
        await supervisor.wait_for("the run", lambda: supervisor.state.value("begun"), 10)
        await supervisor.say("stop", timeout_ms=1000)
        assert await world.exit_code() == 0
        assert (await supervisor.done(work))["error"]["type"] == "Cancelled"


async def test_a_plain_method_that_was_cancelled_is_stopped_at_its_next_wait(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path,
        "import time\nfrom openclaw import Agent\nclass A(Agent):\n"
        "    def run(self):\n"
        "        while True:\n"
        "            self.wait(self.state.update('n', lambda n: n + 1, 0))\n"
        "            time.sleep(0.01)\n",
    )
    world = World(command(path))
    async with world:
        supervisor = await world.ready()
        work = await supervisor.submit("run", [])
        await supervisor.wait_for("the run", lambda: supervisor.state.value("n"), 10)
        await supervisor.say("cancel", work=work, attempt=1)
        await supervisor.done(work)
        again = await supervisor.submit("run", [], timeout_ms=200)
        assert (await supervisor.done(again))["error"]["type"] == "TimeoutError"
        await supervisor.say("stop", timeout_ms=1000)
        assert await world.exit_code() == 0


async def test_writes_of_many_tasks_wait_for_the_supervisor_and_all_arrive(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "import asyncio\nfrom openclaw import Agent\nclass A(Agent):\n"
        "    async def run(self):\n"
        "        while not await self.state.get('go'): await asyncio.sleep(0.01)\n"
        "        await self.state.set('going', 1)\n"
        "        await asyncio.sleep(0.3)\n"
        "        await asyncio.gather(*(self.state.set(f'k{n}', n) for n in range(200)))\n"
        "        return 'done'\n",
    )
    world = World(command(path))
    async with world:
        supervisor = await world.ready()
        work = await supervisor.submit("run", [])
        supervisor.state.put("go", b"true")
        await supervisor.wait_for("the run", lambda: supervisor.state.value("going"), 10)
        await supervisor.vanish()
        await asyncio.sleep(0.5)
        await supervisor.come_back()
        done: dict[str, Any] = await supervisor.done(work)
        assert done["result"] == "done"
        assert [supervisor.state.value(f"k{n}") for n in range(200)] == list(range(200))


async def test_an_author_s_own_cancellation_is_a_failed_run_and_not_a_stuck_one(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path,
        "import asyncio\nfrom openclaw import Agent\nclass A(Agent):\n"
        "    async def run(self):\n"
        "        task = asyncio.ensure_future(asyncio.sleep(60))\n"
        "        task.cancel()\n"
        "        await task\n",
    )
    world = World(command(path))
    async with world:
        supervisor = await world.ready()
        for _ in range(2):
            done = await supervisor.done(await supervisor.submit("run", []))
            assert (done["ok"], done["error"]["type"]) == (False, "Cancelled")
            assert "own code" in done["error"]["message"]


async def test_work_that_swallows_its_cancellation_is_over_all_the_same(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "import asyncio\nfrom openclaw import Agent\nclass A(Agent):\n"
        "    async def run(self):\n"
        "        try:\n"
        "            await asyncio.Event().wait()\n"
        "        except asyncio.CancelledError:\n"
        "            await self.state.set('cleaned', True)\n",
    )
    world = World(command(path))
    async with world:
        supervisor = await world.ready()
        done = await supervisor.done(await supervisor.submit("run", [], timeout_ms=100))
        assert (done["ok"], done["error"]["type"]) == (False, "TimeoutError")
        assert supervisor.state.value("cleaned") is True


async def test_on_error_hears_of_an_outcome_that_was_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "from openclaw import Agent, on\nclass A(Agent):\n"
        "    @on('conformance')\n"
        "    async def got(self, event): await self.state.set('big', 'x' * 2_000_000)\n"
        "    async def on_error(self, exc):\n"
        "        await self.state.set('heard', type(exc).__name__)\n",
    )
    world = World(command(path))
    async with world:
        supervisor = await world.ready()
        done = await supervisor.done(await supervisor.submit("event", []))
        assert (done["error"]["type"], done["error"]["retryable"]) == ("state_too_large", False)
        assert supervisor.state.value("heard") == "StateTooLarge"


async def test_sigterm_lets_the_run_end_before_teardown(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "import asyncio\nfrom openclaw import Agent\nclass A(Agent):\n"
        "    async def setup(self): self.calls = ['setup']\n"
        "    async def run(self):\n"
        "        await self.state.set('begun', True)\n"
        "        while not await self.state.get('go'): await asyncio.sleep(0.01)\n"
        "        self.calls.append('run')\n"
        "    async def teardown(self):\n"
        "        await self.state.set('calls', [*self.calls, 'teardown'])\n",
    )
    world = World(command(path))
    async with world:
        supervisor = await world.ready()
        await supervisor.submit("run", [])
        await supervisor.wait_for("the run", lambda: supervisor.state.value("begun"), 10)
        world.signal(signal.SIGTERM)
        supervisor.state.put("go", b"true")
        assert await world.exit_code() == 0
    assert supervisor.state.value("calls") == ["setup", "run", "teardown"]


async def test_nothing_is_asked_for_before_setup_has_ended(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "import asyncio\nfrom openclaw import Agent\nclass A(Agent):\n"
        "    async def setup(self):\n"
        "        await self.state.set('setting_up', True)\n"
        "        while not await self.state.get('go'): await asyncio.sleep(0.01)\n",
    )
    world = World(command(path))
    async with world:
        supervisor = world.supervisor
        work = await supervisor.submit("run", [])
        await world.launch()
        await supervisor.wait_for("setup", lambda: supervisor.state.value("setting_up"), 10)
        assert not [r.path for r in supervisor.requests if r.path in ("/v1/work", "/v1/ready")]
        supervisor.state.put("go", b"true")
        assert (await supervisor.done(work))["ok"]
    paths = [r.path for r in supervisor.requests]
    assert paths.index("/v1/hello") < paths.index("/v1/ready") < paths.index("/v1/work")


async def test_a_trigger_tells_why_and_for_when(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "from openclaw import Agent\nclass A(Agent):\n"
        "    async def run(self):\n"
        "        t = self.trigger\n"
        "        return [t.kind, t.payload, t.slot and t.slot.isoformat(), t.attempt]\n",
    )
    world = World(command(path))
    async with world:
        supervisor = await world.ready()
        results = []
        for trigger in (
            {"kind": "catch_up", "slot": "2026-11-21T05:00:00.000Z", "payload": None},
            {"kind": "manual", "payload": {"only": "web"}},
            {"kind": "start"},
        ):
            work = await supervisor.submit("run", [], trigger=trigger)
            results.append((await supervisor.done(work))["result"])
    assert results == [
        ["catch_up", None, "2026-11-21T05:00:00+00:00", 1],
        ["manual", {"only": "web"}, None, 1],
        ["start", None, None, 1],
    ]
