"""The package as a process: against the reference server of the conformance program."""

from __future__ import annotations

import asyncio
import json
import subprocess
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


async def test_a_config_error_in_setup_exits_78(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "from openclaw import Agent\nclass A(Agent):\n"
        "    async def setup(self): self.config.slack_webhook\n",
    )
    code, world = await outcome(path)
    assert code == 78
    assert b"agents.conformance.config.slack_webhook" in world.output


async def test_another_name_exits_78(tmp_path: Path) -> None:
    path = write(tmp_path, "from openclaw import Agent\nclass A(Agent):\n    name = 'other'\n")
    code, world = await outcome(path)
    assert code == 78
    assert b"'other'" in world.output


@pytest.mark.parametrize(
    ("body", "code", "shown"),
    [
        ("x = 1\n", 78, b"no subclass of openclaw.Agent"),
        ("raise RuntimeError('at import')\n", 1, b"at import"),
        ("import nothing_of_this_name\n", 1, b"nothing_of_this_name"),
    ],
)
async def test_a_file_without_an_agent_says_so(
    tmp_path: Path, body: str, code: int, shown: bytes
) -> None:
    found, world = await outcome(write(tmp_path, body))
    assert found == code
    assert shown in world.output


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


async def test_a_wrong_schedule_exits_78(tmp_path: Path) -> None:
    path = write(tmp_path, "from openclaw import Agent\nclass A(Agent):\n    schedule = 'soon'\n")
    code, world = await outcome(path)
    assert code == 78
    assert b"soon" in world.output


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


def check(path: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "openclaw", "check", *options, str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_check_says_what_an_agent_declares(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "from openclaw import Agent, Schedule, on\nclass WebWatch(Agent):\n"
        "    schedule = Schedule.every(minutes=5)\n"
        "    async def run(self): ...\n"
        "    @on('a.*')\n    def got(self, event): ...\n",
    )
    code, text = check(path)
    assert code == 0
    assert "agent web-watch" in text
    assert "on        a.* → got()" in text
    code, text = check(path, "--name", "web", "--schedule", "daily 09:00")
    assert code == 0
    assert "daily 09:00 (openclaw.yaml), instead of" in text


@pytest.mark.parametrize(
    ("body", "options", "shown"),
    [
        ("class A(Agent):\n    name = 'a'\n", ["--name", "b"], "declares name = 'a'"),
        ("class A(Agent):\n    async def run(self, x): ...\n", [], "has to take (self)"),
        ("class A(Agent):\n    schedule = 'now and then'\n", [], "no cron expression"),
        ("class A(Agent): ...\nclass B(Agent): ...\n", [], "several agents (A, B)"),
        ("class A(Agent)\n", [], "SyntaxError"),
        ("class A(Agent): ...\n", ["--schedule", "every x"], "no duration"),
        ("1 / 0\n", [], "author.py:3: ZeroDivisionError"),
    ],
)
def test_check_finds_what_is_wrong(
    tmp_path: Path, body: str, options: list[str], shown: str
) -> None:
    code, text = check(write(tmp_path, f"from openclaw import Agent\n\n{body}"), *options)
    assert code == 78
    assert shown in text


@pytest.mark.parametrize("arguments", [[], ["run"], ["check", "--x", "y", "f.py"], ["fly", "x"]])
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "openclaw", *arguments], capture_output=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert b"usage" in done.stderr


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
