"""How a virtual environment is made. Imported only then."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from ._environment import EnvironmentFailure, remove, tell

LONGEST = 3600
"""Seconds that a step may take: a large package that is compiled, on a slow machine."""

_TELLING = 15
_LAST_LINES = 6
_LONGEST_STATUS = 160
_LONGEST_NAMES = 60

_NO_VENV = "install the module `venv` for {python}, on Debian by `apt install python3-venv`"
_NO_PACKAGES = (
    "correct `python.requirements` of the agent in openclaw.yaml, or see that the package index "
    "can be reached (PIP_INDEX_URL, PIP_PROXY and other variables of pip belong into its `env`)"
)


def make(environment: Path, files: list[Path], lines: list[str]) -> None:
    """Make an environment with what is required in it."""
    remove(environment)
    print(f"openclaw: making the virtual environment {environment}", flush=True)
    required = _named(files, lines)
    try:
        advice = _NO_VENV.format(python=sys.executable)
        failed = "the virtual environment cannot be made"
        _step("venv", [sys.executable, "-I", "-m", "venv", str(environment)], (failed, advice))
        if lines:
            listed = environment / "requirements.txt"
            listed.write_text("".join(f"{line}\n" for line in lines), "utf-8")
            files = [listed]
        pip = [str(environment / "bin" / "python"), "-I", "-m", "pip", "install"]
        pip += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
        for file in files:
            pip += ["--requirement", str(file)]
        _step("pip", pip, (f"{required} cannot be installed", _NO_PACKAGES))
    except BaseException:
        remove(environment)
        raise
    # What is marked as whole has to be whole after a power cut too.
    os.sync()
    (environment / "complete").touch()


def _named(files: list[Path], lines: list[str]) -> str:
    """Return what is required, as a reader of the fleet file knows it."""
    if files:
        return f"the requirements in {', '.join(file.name for file in files)}"
    packages = [line for line in lines if not line.startswith("-")]
    return f"requirements {_cut(', '.join(packages or lines), _LONGEST_NAMES)}"


def _step(name: str, command: list[str], texts: tuple[str, str]) -> None:
    """Run a program; `texts` say what has failed if it does, and what to do about it."""
    said: deque[str] = deque(maxlen=_LAST_LINES)
    with _child(command) as (child, output), _Progress(name) as progress:
        for line in filter(None, map(str.rstrip, output)):
            print(line, flush=True)
            said.append(line)
            progress.status = f"{name}: {line}"
        code = child.wait()
    if code == 0:
        return
    ended = f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
    failed, advice = texts
    last = "\n".join(f"    {line}" for line in said)
    raise EnvironmentFailure(
        f"the virtual environment cannot be made: {name} {ended}\n{last}\n"
        f"{advice}; it is tried again as `restart_policy` says",
        f"{failed}: {_verdict(said) or f'{name} {ended}'}",
    )


def _verdict(said: Iterable[str]) -> str:
    """Return the last line, or the last that pip marks as an error: hints may follow on it."""
    last = ""
    for line in said:
        is_error = line.lower().startswith("error")
        if is_error or not last.lower().startswith("error"):
            last = line
    return last


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


@contextlib.contextmanager
def _child(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """Run a program in a process group of its own, which is ended with it if it takes too long."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    limit = threading.Timer(LONGEST, _kill, [child])
    limit.daemon = True
    limit.start()
    try:
        assert child.stdout is not None
        with child.stdout as output:
            yield child, output
    finally:
        limit.cancel()
        _kill(child)
        child.wait()


def _kill(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)


class _Progress:
    """Shows what a step prints, and that it goes on while it prints nothing."""

    def __init__(self, status: str) -> None:
        self.status = status
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> _Progress:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _tell(self) -> None:
        """Tell of a change at most twice a second, of silence every 15 s."""
        told, silent = "", 0.0
        while not self._over.wait(0.5):
            silent += 0.5
            status = self.status[:_LONGEST_STATUS]
            if status != told or silent >= _TELLING:
                tell(status)
                told, silent = status, 0.0
