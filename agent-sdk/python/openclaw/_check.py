"""`python -m openclaw check file.py`: what would go wrong at start, found without starting."""

from __future__ import annotations

import sys

from ._agent import name_of
from ._declaration import problems_of, schedule_of
from ._errors import ConfigError, SourceError
from ._handlers import handlers_of
from ._source import load

EXIT_OK = 0
EXIT_CONFIG = 78


def check(source: str, *, name: str | None, schedule: str | None) -> int:
    """Print what is wrong with an agent's file, or what it declares; return the exit code."""
    try:
        cls = load(source, name or "")
    except (ConfigError, SourceError) as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    problems = problems_of(cls, name=name, schedule=schedule)
    for problem in problems:
        print(f"{source}: {problem}", file=sys.stderr)
    if problems:
        return EXIT_CONFIG
    declared = schedule_of(cls)
    print(f"{cls.__name__}: agent {name or name_of(cls)}")
    if schedule and declared is not None:
        print(f"  schedule  {schedule} (openclaw.yaml), instead of {declared!r}")
    elif schedule or declared is not None:
        print(f"  schedule  {schedule or repr(declared)}")
    for handler in handlers_of(cls):
        events = ", ".join(subscription.event for subscription in handler.subscriptions)
        print(f"  on        {events} → {handler.method}()")
    return EXIT_OK
