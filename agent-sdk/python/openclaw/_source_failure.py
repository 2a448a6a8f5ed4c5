"""What is said about an author's file whose import failed. Imported only then."""

from __future__ import annotations

import difflib
import linecache
import re
import sys
import traceback
from pathlib import Path

import openclaw

from ._errors import ConfigError, ScheduleError


def mended_by_edit(error: Exception) -> bool:
    """Say whether starting again is of no use before somebody has changed a file."""
    return isinstance(error, (ConfigError, ScheduleError, SyntaxError, ImportError))


def described(path: Path, error: Exception) -> str:
    """Return `file:line: what is wrong`, the line itself, and what to do about it."""
    kind = "" if isinstance(error, (ConfigError, ScheduleError)) else f"{type(error).__name__}: "
    file, line = _place(path, error)
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    parts = [f"{file}:{line}: {kind}{message}"]
    text = linecache.getline(str(file), line).strip()
    if text:
        parts.append(f"    {text}")
    if not mended_by_edit(error):
        parts.append(_trace(path, error))
    if isinstance(error, ImportError):
        parts += _import_hint(error)
    return "\n".join(parts)


def _place(path: Path, error: Exception) -> tuple[Path, int]:
    """Return where the author's own code is wrong, or led to what went wrong elsewhere."""
    if isinstance(error, SyntaxError) and error.filename:
        broken = Path(error.filename)
        return (path if broken == path.resolve() else broken), error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == str(path.resolve())]
    return path, (own[-1].lineno if own else None) or 1


def _trace(path: Path, error: Exception) -> str:
    """Return the trace from the author's first line on."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename != str(path.resolve()):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _import_hint(error: ImportError) -> list[str]:
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] != "openclaw":
        return [
            f"{sys.executable} has no module {error.name!r}: list its package under "
            "`python.requirements` of the agent in openclaw.yaml"
        ]
    missing = re.search(r"cannot import name '(\w+)' from 'openclaw'", str(error))
    if missing is None:
        return []
    near = difflib.get_close_matches(missing[1], openclaw.__all__, n=1)
    known = f"openclaw {openclaw.__version__} has no {missing[1]!r}"
    return [f"{known}; did you mean {near[0]!r}?" if near else known]
