"""What a class says about itself: the body of hello, and what `check` looks at."""

from __future__ import annotations

import inspect
import os
import sys
from typing import Any

from . import __version__
from ._agent import Agent, declared_name
from ._errors import ConfigError, ScheduleError
from ._handlers import handlers_of
from ._schedule import Schedule

PROTOCOLS = [1]
_HOOKS = {
    "setup": 0,
    "run": 0,
    "teardown": 0,
    "on_error": 1,
    "liveness_check": 0,
    "readiness_check": 0,
}


def hello_body(agent: Agent, instance: str, resume: dict[str, Any] | None) -> dict[str, Any]:
    """Return the body of `POST /v1/hello`."""
    cls = type(agent)
    schedule = schedule_of(cls)
    version = ".".join(map(str, sys.version_info[:3]))
    return {
        "protocols": PROTOCOLS,
        "sdk": {
            "name": "openclaw-python",
            "version": __version__,
            "language": f"python {version}",
        },
        "pid": os.getpid(),
        "instance": instance,
        "class": cls.__name__,
        "name": declared_name(cls),
        "schedule": schedule.declared() if schedule else None,
        "subscriptions": [
            {
                "event": subscription.event,
                "from": subscription.source,
                "handler": handler.method,
                "writes": "buffered" if handler.buffered else "through",
            }
            for handler in handlers_of(cls)
            for subscription in handler.subscriptions
        ],
        "probes": [
            name
            for name in ("liveness", "readiness")
            if getattr(cls, f"{name}_check") is not getattr(Agent, f"{name}_check")
        ],
        "routers": _routers(agent),
        "capabilities": ["control", "cancel"],
        "resume": resume,
    }


def schedule_of(cls: type[Agent]) -> Schedule | None:
    """Return the schedule a class declares."""
    declared: Any = cls.schedule
    if declared is None:
        return None
    if not isinstance(declared, (Schedule, str, dict)):
        raise ScheduleError(f"{cls.__name__}.schedule is {declared!r}; write Schedule.every(…)")
    try:
        return Schedule.parse(declared)
    except ScheduleError as error:
        raise ScheduleError(f"{cls.__name__}.schedule: {error}") from error


def problems_of(cls: type[Agent], *, name: str | None, schedule: str | None) -> list[str]:
    """Return everything about a class that would keep it from working, in sentences."""
    problems = []
    if name is not None:
        try:
            check_name(cls, name)
        except ConfigError as error:
            problems.append(str(error))
    given = None
    try:
        given = schedule_of(cls)
        given = Schedule.parse(schedule) if schedule else given
    except ScheduleError as error:
        problems.append(str(error))
    if given is not None:
        problems += _timezone_problems(cls, given)
        if cls.run is Agent.run:
            problems.append(f"{cls.__name__} has a schedule, but no run() for it to call")
    for hook, arguments in _HOOKS.items():
        problems += _signature_problems(cls, hook, arguments)
    for handler in handlers_of(cls):
        problems += _signature_problems(cls, handler.method, 1)
    return problems


def check_name(cls: type[Agent], name: str) -> None:
    """Raise ConfigError when a class declares another name than the fleet file has."""
    declared = declared_name(cls)
    if declared and name and declared != name:
        raise ConfigError(
            f"{cls.__name__} declares name = {declared!r}, but openclaw.yaml runs it as {name!r}: "
            "make them the same, or leave `name` out of the class"
        )


def _timezone_problems(cls: type[Agent], schedule: Schedule) -> list[str]:
    if schedule.timezone is None:
        return []
    from zoneinfo import available_timezones

    known = available_timezones()
    # A machine without the database knows no zone at all; the supervisor has its own.
    if not known or schedule.timezone in known:
        return []
    from difflib import get_close_matches

    near = get_close_matches(schedule.timezone, known, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return [f"{cls.__name__}.schedule: no time zone is named {schedule.timezone!r}{meant}"]


def _signature_problems(cls: type[Agent], name: str, arguments: int) -> list[str]:
    method = getattr(cls, name)
    if not callable(method):
        return [f"{cls.__name__}.{name} is not a method"]
    if inspect.isasyncgenfunction(method) or inspect.isgeneratorfunction(method):
        return [f"{cls.__name__}.{name} uses `yield`; it has to return"]
    try:
        inspect.signature(method).bind(*(None,) * (arguments + 1))
    except TypeError:
        expected = "(self, event)" if arguments and name != "on_error" else "(self)"
        expected = "(self, exc)" if name == "on_error" else expected
        return [f"{cls.__name__}.{name} has to take {expected}"]
    return []


def _routers(agent: Agent) -> list[dict[str, Any]]:
    from sys import modules

    # Without the module nobody can have made a router, and importing it costs time.
    llm = modules.get("openclaw.llm")
    if llm is None:
        return []
    found = {**vars(type(agent)), **vars(agent)}
    return [
        {"attribute": name.lstrip("_"), "primary": router.primary, **router.declared()}
        for name, router in found.items()
        if isinstance(router, llm.LLMRouter)
    ]
