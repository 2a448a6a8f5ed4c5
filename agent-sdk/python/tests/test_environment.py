"""Virtual environments of agents: which one is theirs, and when one goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from openclaw import _environment, _environment_making

AGENT = "from openclaw import Agent\nclass A(Agent): ...\n"
ROOT = Path(__file__).parents[1]


def test_another_set_of_requirements_is_another_environment(tmp_path: Path) -> None:
    requirements, base = tmp_path / "requirements.txt", tmp_path / "base.txt"
    requirements.write_text("--requirement=base.txt  # ours\n-r https://example.org/more.txt\na\n")
    base.write_text("-c requirements.txt\nb==1\n")
    first = _environment._digest([requirements], [])
    assert _environment._digest([requirements], []) == first
    base.write_text("-c requirements.txt\nb==2\n")
    assert _environment._digest([requirements], []) != first
    assert _environment._digest([], ["a", "b"]) != _environment._digest([], ["a b"])


def whole(folder: Path, name: str, age: float) -> Path:
    environment = folder / name
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(sys.executable)
    (environment / "complete").touch()
    at = time.time() - age
    os.utime(environment / "complete", (at, at))
    return environment


def test_what_is_torn_or_unused_goes_and_what_is_lived_in_stays(tmp_path: Path) -> None:
    old = _environment.UNUSED + 60
    used, unused = whole(tmp_path, "used", 0), whole(tmp_path, "unused", old)
    lived_in = whole(tmp_path, "lived-in", 0)
    (tmp_path / "torn" / "bin").mkdir(parents=True)
    program = (
        "import sys; from pathlib import Path; from openclaw import _environment as e\n"
        "assert e._joined(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(lived_in)]
    pipe = subprocess.PIPE
    environ = {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        at = time.time() - old
        os.utime(lived_in / "complete", (at, at))
        _environment._sweep(tmp_path)
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {"making", used.name, lived_in.name}
        assert not unused.exists()
        process.communicate()
    _environment._sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"making", used.name}


def test_what_cannot_be_read_is_no_end_for_good(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(AGENT)
    options = ["--environments", str(tmp_path), "--requirements", str(tmp_path / "none.txt")]
    done = subprocess.run(
        [sys.executable, "-m", "openclaw", "run", *options, "a.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == _environment.EXIT_AGAIN
    assert "none.txt" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failure_is_told_in_one_line_that_names_what_was_required(tmp_path: Path) -> None:
    hints = ["Collecting a", "ERROR: No matching distribution found for a", "hint: see above"]
    assert _environment_making._verdict(hints) == hints[1]
    assert _environment_making._verdict(hints[:1]) == hints[0]
    assert _environment_making._verdict([]) == ""
    assert _environment_making._named([], ["--no-index", "a", "b>=2"]) == "requirements a, b>=2"
    file = tmp_path / "requirements.txt"
    assert _environment_making._named([file], []) == "the requirements in requirements.txt"
    many = _environment_making._named([], ["package"] * 100)
    assert len(many) < 100
    assert many.endswith("…")
