"""`python -m openclaw run|check FILE`: what is said about a file that is no agent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import openclaw.__main__ as command_line
import pytest
from conformance._agent_process import World
from conformance._supervisor import Supervisor

ROOT = Path(__file__).parents[1]
AGENT = "from openclaw import Agent, Schedule, on\nclass A(Agent):\n"


def openclaw(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "openclaw", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# What is wrong with the file, and what is said about it.
BROKEN = {
    "syntax error": (
        "class A(Agent)\n    pass\n",
        "author.py:1: SyntaxError: expected ':'\n    class A(Agent)",
    ),
    "no class": ("x = 1\n", "author.py: no subclass of openclaw.Agent is defined in this file"),
    "two classes": (
        "from openclaw import Agent\nclass A(Agent): ...\nclass B(Agent): ...\n",
        "author.py: several agents (A, B); name one as author.py:A",
    ),
    "a schedule that is none": (
        f"{AGENT}    schedule = Schedule.cron('61 * * * *')\n",
        "author.py:3: '61 * * * *': the minute '61' is not between 0 and 59\n"
        "    schedule = Schedule.cron('61 * * * *')",
    ),
    "a schedule in words": (
        f"{AGENT}    schedule = Schedule.every(minutes='5')\n",
        "author.py:3: the parts of Schedule.every are numbers, as in minutes=5",
    ),
    "an event name": (
        f"{AGENT}    @on('no name')\n    async def got(self, event): ...\n",
        "author.py:3: @on('no name'): an event name is words",
    ),
    "a name the package has not": (
        "from openclaw import Agent, Shedule\n",
        "openclaw 0.1.0 has no 'Shedule'; did you mean 'Schedule'?",
    ),
    "a module nobody installed": (
        "\nimport no_such_module.part\n",
        "author.py:2: ModuleNotFoundError: No module named 'no_such_module'\n"
        "    import no_such_module.part\n"
        f"{sys.executable} has no module 'no_such_module': list its package under "
        "`python.requirements`",
    ),
    "a broken module beside it": (
        "import beside\n",
        "beside.py:2: SyntaxError",
    ),
}


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("wrong", BROKEN)
def test_a_file_that_only_an_edit_can_mend_exits_78(
    tmp_path: Path, wrong: str, command: str
) -> None:
    body, said = BROKEN[wrong]
    (tmp_path / "author.py").write_text(body)
    (tmp_path / "beside.py").write_text("x = 1\ny = = 2\n")
    code, out, error = run_anywhere(tmp_path, command)
    assert (code, out) == (78, "")
    assert said in error
    assert "Traceback" not in error


def run_anywhere(folder: Path, command: str) -> tuple[int, str, str]:
    """Run the file as a supervisor would; it does not come so far as to need one."""
    done = subprocess.run(
        [sys.executable, "-m", "openclaw", command, "author.py"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OPENCLAW_SOCK": "none"},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_file_that_is_not_there_is_named_with_the_folder_it_was_looked_for_in(
    tmp_path: Path, command: str
) -> None:
    code, out, error = run_anywhere(tmp_path, command)
    assert (code, out) == (78, "")
    assert f"author.py: no such file; paths are relative to {tmp_path}" in error
    (tmp_path / "author.py").mkdir()
    assert "author.py: not a file" in run_anywhere(tmp_path, command)[2]


def test_a_file_that_fails_for_a_reason_of_its_own_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "author.py").write_text("def far(): raise OSError('disk away')\n\nfar()\n")
    code, _, error = run_anywhere(tmp_path, "run")
    assert code == 1
    assert "author.py:1: OSError: disk away" in error
    assert "line 3, in <module>" in error
    assert "importlib" not in error
    assert run_anywhere(tmp_path, "check")[0] == 78


def test_outside_of_a_fleet_run_says_who_starts_agents(tmp_path: Path) -> None:
    (tmp_path / "author.py").write_text(f"{AGENT}    ...\n")
    code, _, error = openclaw(tmp_path, "run", "author.py")
    assert code == 78
    assert "an agent is started by the supervisor (`clawctl up`)" in error


async def in_a_fleet(
    folder: Path, body: str, prepare: Callable[[Supervisor], None] = lambda _: None
) -> tuple[int, str]:
    path = folder / "author.py"
    path.write_text(f"{AGENT}{body}")
    world = World(["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "openclaw", "run", str(path)])
    prepare(world.supervisor)
    async with world:
        await world.launch()
        code = await world.exit_code()
    return code, world.output.decode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    schedule = 'soon'\n", "A.schedule: 'soon' is no cron expression"),
        ("    name = 'other'\n", "A declares name = 'other', but openclaw.yaml runs it as"),
        (
            "    async def setup(self): self.config.slack_webhook\n",
            "config has no `slack_webhook`: set `agents.conformance.config.slack_webhook` in",
        ),
    ],
)
async def test_what_is_wrong_by_configuration_exits_78(
    tmp_path: Path, body: str, said: str
) -> None:
    code, output = await in_a_fleet(tmp_path, body)
    assert code == 78
    assert said in output


async def test_a_supervisor_of_another_protocol_exits_78(tmp_path: Path) -> None:
    def other(supervisor: Supervisor) -> None:
        supervisor.refuse_hello = (400, "unsupported", {"protocols": [2, 3]})

    code, output = await in_a_fleet(tmp_path, "    ...\n", other)
    assert code == 78
    assert "it speaks Agent Protocol [2, 3], this package 0.1.0 speaks [1]" in output


async def test_a_hello_that_is_refused_as_it_stands_exits_78(tmp_path: Path) -> None:
    def strict(supervisor: Supervisor) -> None:
        supervisor.refuse_hello = (400, "bad_request", {"reason": "bad_schedule"})

    code, output = await in_a_fleet(tmp_path, "    ...\n", strict)
    assert code == 78
    assert "the supervisor refuses this instance" in output


def test_check_says_what_an_agent_declares(tmp_path: Path) -> None:
    (tmp_path / "author.py").write_text(
        "from openclaw import Agent, Schedule, on\nclass WebWatch(Agent):\n"
        "    schedule = Schedule.every(minutes=5)\n"
        "    async def run(self): ...\n"
        "    @on('a.*')\n    def got(self, event): ...\n"
    )
    code, out, error = openclaw(tmp_path, "check", "author.py")
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        "WebWatch: agent web-watch",
        "  schedule  Schedule.every(300000ms)",
        "  on        a.* → got()",
    ]
    options = ("--name", "web", "--schedule", "daily 09:00")
    _, out, _ = openclaw(tmp_path, "check", *options, "author.py")
    assert "WebWatch: agent web\n" in out
    assert "daily 09:00 (openclaw.yaml), instead of Schedule.every" in out


@pytest.mark.parametrize(
    ("body", "options", "said"),
    [
        ("    name = 'a'\n", ["--name", "b"], "A declares name = 'a', but openclaw.yaml runs"),
        ("    async def run(self, x): ...\n", [], "A.run has to take (self)"),
        ("    async def run(self): yield 1\n", [], "A.run uses `yield`; it has to return"),
        ("    setup = 1\n", [], "A.setup is not a method"),
        ("    schedule = 'now and then'\n", [], "A.schedule: 'now and then' is no cron"),
        ("    schedule = 5\n", [], "A.schedule is 5; write Schedule.every(…)"),
        ("    schedule = 'every 5m'\n", [], "A has a schedule, but no run() for it to call"),
        ("    ...\n", ["--schedule", "every x"], "'x' is no duration"),
        (
            "    schedule = Schedule.daily(9, timezone='Europe/Berln')\n",
            [],
            "no time zone is named 'Europe/Berln'; did you mean 'Europe/Berlin'?",
        ),
    ],
)
def test_check_finds_what_is_wrong_with_a_class(
    tmp_path: Path, body: str, options: list[str], said: str
) -> None:
    (tmp_path / "author.py").write_text(f"{AGENT}{body}")
    code, out, error = openclaw(tmp_path, "check", *options, "author.py")
    assert (code, out) == (78, "")
    assert error.startswith("author.py: ")
    assert said in error


def test_one_of_several_classes_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "author.py").write_text(f"{AGENT}    ...\nclass B(Agent): ...\n")
    assert openclaw(tmp_path, "check", "author.py:B")[1] == "B: agent b\n"
    assert openclaw(tmp_path, "check", "--name", "a", "author.py")[1] == "A: agent a\n"
    code, _, error = openclaw(tmp_path, "check", "author.py:C")
    assert (code, error) == (78, "author.py: no class C is defined in this file\n")


@pytest.mark.parametrize("arguments", [[], ["run"], ["check", "--x", "y", "f.py"], ["fly", "x"]])
def test_wrong_usage_exits_2(tmp_path: Path, arguments: list[str]) -> None:
    code, out, error = openclaw(tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert error.startswith("usage: python -m openclaw run FILE")


def test_an_old_python_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    assert command_line.main(["run", "author.py"]) == 78
    assert "Python 3.10 or later is needed" in capsys.readouterr().err
