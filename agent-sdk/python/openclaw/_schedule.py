"""Schedules as a class declares them. The supervisor keeps the time, not the agent."""

from __future__ import annotations

from typing import Any

from ._duration import milliseconds
from ._errors import ScheduleError

MIN_EVERY_MS = 1000


class Schedule:
    """When `run()` is called: `.every(minutes=5)`, `.cron("0 */2 * * *")` or `.daily(hour=9)`.

    `every` also fires once at start; `cron` and `daily` do not. `run_on_start` overrides both.
    """

    __slots__ = ("cron_text", "daily_at", "every_ms", "run_on_start", "timezone")

    def __init__(
        self,
        *,
        every_ms: int | None = None,
        cron_text: str | None = None,
        daily_at: str | None = None,
        timezone: str | None = None,
        run_on_start: bool | None = None,
    ) -> None:
        given = [form for form in (every_ms, cron_text, daily_at) if form is not None]
        if len(given) != 1:
            raise ScheduleError("a schedule is exactly one of every, cron and daily")
        if every_ms is not None and every_ms < MIN_EVERY_MS:
            raise ScheduleError("a schedule fires at most once a second")
        self.every_ms = every_ms
        self.cron_text = cron_text
        self.daily_at = daily_at
        self.timezone = timezone
        self.run_on_start = every_ms is not None if run_on_start is None else run_on_start

    @classmethod
    def every(
        cls,
        interval: str | None = None,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        run_on_start: bool = True,
    ) -> Schedule:
        """Fire at start and then so much time apart; `interval` is text such as `5m`."""
        try:
            if interval is not None and not isinstance(interval, str):
                raise TypeError
            total = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000
            every_ms = round(total) + (milliseconds(interval) if interval else 0)
        except (TypeError, AttributeError):
            raise ScheduleError(
                "the parts of Schedule.every are numbers, as in minutes=5, or one text, as in '5m'"
            ) from None
        except ValueError as error:
            raise ScheduleError(str(error)) from error
        if not every_ms:
            raise ScheduleError("Schedule.every needs an interval, for example minutes=5")
        return cls(every_ms=every_ms, run_on_start=run_on_start)

    @classmethod
    def cron(
        cls, expression: str, *, timezone: str | None = None, run_on_start: bool = False
    ) -> Schedule:
        """Fire as crontab(5) says: five fields, six with seconds first, or `@daily` and its kin."""
        from ._slots import Cron

        Cron.parse(expression)
        return cls(cron_text=expression, timezone=timezone, run_on_start=run_on_start)

    @classmethod
    def daily(
        cls,
        hour: int = 0,
        minute: int = 0,
        *,
        timezone: str | None = None,
        run_on_start: bool = False,
    ) -> Schedule:
        """Fire once a day at a wall-clock time."""
        if not (0 <= hour <= 23 and 0 <= minute <= 59):
            raise ScheduleError(f"{hour}:{minute:02} is no time of day")
        return cls(daily_at=f"{hour:02}:{minute:02}", timezone=timezone, run_on_start=run_on_start)

    @classmethod
    def parse(cls, text: str | dict[str, Any] | Schedule) -> Schedule:
        """Read what the fleet file may say: `every 5m`, `cron "…"`, `daily 09:00`, or a map."""
        if isinstance(text, Schedule):
            return text
        if isinstance(text, dict):
            return cls._from_map(text)
        word, _, rest = text.strip().partition(" ")
        rest = rest.strip().strip("\"'")
        if word == "every" and rest:
            return cls.every(rest)
        if word == "daily" and rest:
            return cls.daily(*_time_of_day(rest))
        if word == "cron" and rest:
            return cls.cron(rest)
        return cls.cron(text)

    @classmethod
    def _from_map(cls, fields: dict[str, Any]) -> Schedule:
        options = {key: fields[key] for key in ("timezone", "run_on_start") if key in fields}
        if "every" in fields:
            return cls.every(str(fields["every"]), run_on_start=options.get("run_on_start", True))
        if "cron" in fields:
            return cls.cron(fields["cron"], **options)
        if "daily" in fields:
            return cls.daily(*_time_of_day(str(fields["daily"])), **options)
        raise ScheduleError("a schedule needs one of `every`, `cron` and `daily`")

    def declared(self) -> dict[str, Any]:
        """Return the form the protocol knows."""
        form: dict[str, Any] = {"run_on_start": self.run_on_start}
        for key, value in (
            ("every_ms", self.every_ms),
            ("cron", self.cron_text),
            ("daily", self.daily_at),
            ("timezone", self.timezone),
        ):
            if value is not None:
                form[key] = value
        return form

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self.declared() == other.declared()

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.declared().items())))

    def __repr__(self) -> str:
        if self.every_ms is not None:
            return f"Schedule.every({self.every_ms}ms)"
        if self.cron_text is not None:
            return f"Schedule.cron({self.cron_text!r})"
        return f"Schedule.daily({self.daily_at!r})"


def _time_of_day(text: str) -> tuple[int, int]:
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdigit() and minute.isdigit()):
        raise ScheduleError(f"{text!r} is no time of day; write for example 09:00")
    return int(hour), int(minute)
