"""Every agent of the examples is one as `check` sees it, and every fleet file names its files."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from conformance._agent_process import READY_SECONDS, World
from openclaw import _check
from openclaw._source import classes_of, import_file

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT.parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*/agents/*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_passes_its_check(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _check.check(str(path), name=path.stem.replace("_", "-"), schedule=None) == 0
    assert capsys.readouterr().out
    assert len(classes_of(import_file(path))) == 1


@pytest.mark.parametrize(
    "folder", sorted({path.parents[1] for path in FILES}), ids=lambda p: p.name
)
def test_the_fleet_file_of_an_example_runs_all_of_its_agents(folder: Path) -> None:
    text = (folder / "openclaw.yaml").read_text()
    sources = dict(re.findall(r"^  ([a-z-]+):\n    source: (\S+)$", text, re.MULTILINE))
    agents = {
        path.stem.replace("_", "-"): f"agents/{path.name}"
        for path in FILES
        if path.parents[1] == folder
    }
    assert sources == agents
    assert list((folder / "tests").glob("test_*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_every_example_starts_as_a_process_and_stops_when_asked(path: Path) -> None:
    run = [sys.executable, "-W", "error", "-m", "openclaw", "run", str(path)]
    world = World(["env", f"PYTHONPATH={ROOT}", *run])
    async with world:
        supervisor = world.supervisor
        await world.launch(OPENCLAW_AGENT=path.stem.replace("_", "-"))
        await supervisor.wait_for("ready", lambda: supervisor.ready, READY_SECONDS)
        await supervisor.say("stop", timeout_ms=5000)
        assert await world.exit_code() == 0
    assert supervisor.violations == []
