"""The virtual environment of an agent with `python.requirements`: made once, then entered.

    <environments>/
      making                locked by whoever makes or removes one
      <digest>/             one environment; its name is the hash of all that it is made of
        complete            written last; every process that lives in it holds a shared lock on it

An environment without `complete` was never finished and is made anew. They are made where they
stay, because their scripts name their own place.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

EXIT_USAGE = 2
EXIT_AGAIN = 75
"""The exit code of a start without an environment, which `restart_policy` repeats."""

LONGEST_STATUS = 256
"""Characters of a status that the supervisor keeps."""

UNUSED = 7 * 24 * 3600
"""Seconds after which an environment that no process lives in is removed."""

_INCLUDING = ("-r", "--requirement", "-c", "--constraint")


class EnvironmentFailure(Exception):
    """An environment cannot be made; the text says why and what to do, `summary` why in a line."""

    def __init__(self, text: str, summary: str) -> None:
        super().__init__(text)
        self.summary = summary


def enter(arguments: list[str]) -> int:
    """Replace this process by `run SOURCE` in its environment; return the exit code if it cannot.

    Arguments: `--environments FOLDER`, then `--requirements FILE` or one `--require LINE` for each
    line of such a file, then the source.
    """
    *options, source = arguments
    given = list(zip(options[::2], options[1::2], strict=False))
    folders = [Path(value) for name, value in given if name == "--environments"]
    files = [Path(value) for name, value in given if name == "--requirements"]
    lines = [value for name, value in given if name == "--require"]
    known = {"--environments", "--requirements", "--require"}
    if len(options) % 2 or len(folders) != 1 or {name for name, _ in given} - known:
        return EXIT_USAGE
    try:
        environment = _prepared(folders[0], files, lines)
    except (EnvironmentFailure, OSError) as error:
        print(f"openclaw: {error}", file=sys.stderr, flush=True)
        _tell_failure(error)
        return EXIT_AGAIN
    return _become(environment, source)


def _become(environment: Path, source: str) -> NoReturn:
    programs = environment / "bin"
    os.environ["VIRTUAL_ENV"] = str(environment)
    os.environ["PATH"] = os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])
    python = str(programs / "python")
    os.execv(python, [python, "-m", "openclaw", "run", source])


def _prepared(folder: Path, files: list[Path], lines: list[str]) -> Path:
    """Return the environment, which is kept for as long as this process lives."""
    environment = folder / _digest(files, lines)
    if not _joined(environment):
        from ._environment_making import make

        with _making(folder):
            # Another replica may have made it meanwhile.
            if not _joined(environment):
                make(environment, files, lines)
                if not _joined(environment):
                    gone = f"{environment} was removed while it was made"
                    raise EnvironmentFailure(gone, gone)
        # What was said of the environment is not said of the agent.
        _notify("STATUS=")
    _sweep(folder)
    return environment


def _digest(files: list[Path], lines: list[str]) -> str:
    """Return the hash of what an environment is made of: requirements and interpreter."""
    parts = [sys.executable, sys.version, *lines]
    seen: set[Path] = set()
    for file in files:
        parts += _contents(file, seen)
    content = hashlib.sha256()
    for part in parts:
        content.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return content.hexdigest()[:16]


def _contents(file: Path, seen: set[Path]) -> Iterator[str]:
    """Yield the text of a requirements file and of those that it includes."""
    file = file.resolve()
    if file in seen:
        return
    seen.add(file)
    text = file.read_text("utf-8", "surrogateescape")
    yield text
    for line in text.splitlines():
        option, _, name = line.strip().replace("=", " ", 1).partition(" ")
        if option in _INCLUDING and "://" not in name:
            yield from _contents(file.parent / name.split(" #")[0].strip(), seen)


def _joined(environment: Path) -> bool:
    """Say whether the environment is whole, and keep it from being removed if it is."""
    try:
        descriptor = os.open(environment / "complete", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    # Whoever removes it holds the lock until it is gone.
    removed = os.fstat(descriptor).st_nlink == 0
    if removed or not (environment / "bin" / "python").exists():
        os.close(descriptor)
        return False
    os.utime(descriptor)
    # The lock is that of the open file, so it lasts as long as the agent that is to come.
    os.set_inheritable(descriptor, True)
    return True


@contextlib.contextmanager
def _making(folder: Path) -> Iterator[None]:
    """Wait until nobody else makes or removes an environment, and keep it so."""
    descriptor = _open_lock(folder)
    try:
        while not _taken(descriptor):
            tell("waits for a virtual environment that another replica makes")
            time.sleep(0.5)
        yield
    finally:
        os.close(descriptor)


def _open_lock(folder: Path) -> int:
    return os.open(folder / "making", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(folder: Path) -> None:
    """Remove what nobody has used for long, unless an environment is being made just now."""
    descriptor = _open_lock(folder)
    try:
        if _taken(descriptor):
            for entry in folder.iterdir():
                if entry.name != "making":
                    _remove_unused(entry)
    except OSError as error:
        print(f"openclaw: a virtual environment cannot be removed: {error}", file=sys.stderr)
    finally:
        os.close(descriptor)


def _remove_unused(environment: Path) -> None:
    try:
        descriptor = os.open(environment / "complete", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        remove(environment)
        return
    try:
        unused = os.fstat(descriptor).st_mtime < time.time() - UNUSED
        if unused and _taken(descriptor):
            remove(environment)
    finally:
        os.close(descriptor)


def remove(environment: Path) -> None:
    """Remove an environment, the mark that it is whole first."""
    import shutil

    (environment / "complete").unlink(missing_ok=True)
    if environment.exists():
        shutil.rmtree(environment)


def tell(status: str) -> None:
    """Show what is being done, and ask the supervisor for a minute more for it."""
    _notify(f"STATUS={status}\nEXTEND_TIMEOUT_USEC=60000000")


def _tell_failure(error: EnvironmentFailure | OSError) -> None:
    """Say why this process is about to fail, and where more is said."""
    if isinstance(error, EnvironmentFailure):
        reason = error.summary
    else:
        reason = f"the virtual environment cannot be made: {error}"
    advice = f"; see `clawctl logs {os.environ.get('OPENCLAW_AGENT', '')}`"
    reason = " ".join(reason.split())[: LONGEST_STATUS - len(advice)]
    _notify(f"STATUS={reason}{advice}\nERRNO={errno.EAGAIN}")


def _notify(text: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    import socket

    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1)
        sender.sendto(text.encode(), address)
