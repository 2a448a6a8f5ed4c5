"""Which moments a schedule names. Used by the test harness; in a fleet the supervisor decides.

A wall-clock slot that does not exist runs at the next valid minute; one that exists twice runs
once, the first time.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

from ._errors import ScheduleError
from ._schedule import Schedule

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# 29 February can be eight years away (around 2100); further than that a slot never comes.
_SEARCH_DAYS = 366 * 9


class Field(NamedTuple):
    """One of the places of a cron expression."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_FIELDS = (
    Field("second", 0, 59),
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day", 1, 31),
    Field("month", 1, 12, _MONTHS),
    Field("weekday", 0, 7, _DAYS),
)


class Cron(NamedTuple):
    """A parsed cron expression: the values each field allows."""

    seconds: list[int]
    minutes: list[int]
    hours: list[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read five fields, six with seconds first, or a macro such as `@hourly`."""
        fields = _MACROS.get(text.strip().lower(), text).split()
        if len(fields) == 5:
            fields = ["0", *fields]
        if len(fields) != 6:
            raise ScheduleError(f"{text!r} is no cron expression: five fields are expected")
        try:
            seconds, minutes, hours, days, months, weekdays = map(_values, _FIELDS, fields)
        except ScheduleError as error:
            raise ScheduleError(f"{text!r}: {error}") from None
        return cls(
            sorted(seconds),
            sorted(minutes),
            sorted(hours),
            frozenset(days),
            frozenset(months),
            frozenset(value % 7 for value in weekdays),
            # crontab(5): with both days restricted, either one suffices.
            not fields[3].startswith("*") and not fields[5].startswith("*"),
        )

    def matches_day(self, day: datetime) -> bool:
        """Say whether any slot lies on that date."""
        if day.month not in self.months:
            return False
        in_month = day.day in self.days
        in_week = (day.weekday() + 1) % 7 in self.weekdays
        return (in_month or in_week) if self.either_day else (in_month and in_week)

    def next_wall(self, after: datetime) -> datetime:
        """Return the first wall-clock slot later than a naive time."""
        day = after.replace(hour=0, minute=0, second=0, microsecond=0)
        for _ in range(_SEARCH_DAYS):
            if self.matches_day(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        for second in self.seconds:
                            slot = day.replace(hour=hour, minute=minute, second=second)
                            if slot > after:
                                return slot
            day += timedelta(days=1)
        raise ScheduleError("the cron expression never comes due")


def next_slot(schedule: Schedule, after: datetime, anchor: datetime) -> datetime:
    """Return the first slot later than `after`; `anchor` is where an `every` starts to count."""
    if schedule.every_ms is not None:
        step = timedelta(milliseconds=schedule.every_ms)
        return anchor + step * max(1, (after - anchor) // step + 1)
    cron = _as_cron(schedule)
    zone = _zone(schedule.timezone)
    wall = after.astimezone(zone).replace(tzinfo=None, fold=0)
    # One hour may repeat and one may be missing, so a slot can lie on the wrong side of `after`.
    while True:
        wall = cron.next_wall(wall)
        moment = _moment(wall, zone)
        if moment > after:
            return moment


def _as_cron(schedule: Schedule) -> Cron:
    if schedule.cron_text is not None:
        return Cron.parse(schedule.cron_text)
    assert schedule.daily_at is not None, "a schedule is exactly one of three forms"
    hour, minute = schedule.daily_at.split(":")
    return Cron.parse(f"{int(minute)} {int(hour)} * * *")


def _zone(name: str | None) -> tzinfo:
    if name is None or name == "UTC":
        return timezone.utc
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError) as error:
        raise ScheduleError(f"{name!r} is no time zone") from error


def _moment(wall: datetime, zone: tzinfo) -> datetime:
    moment = wall.replace(tzinfo=zone).astimezone(timezone.utc)
    back = moment.astimezone(zone).replace(tzinfo=None, fold=0)
    if back == wall:
        return moment
    # The clock jumped over this slot: take the minute at which it landed.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(timezone.utc)
    jump = min(moment, before)
    while jump.astimezone(zone).replace(tzinfo=None, fold=0) < wall:
        jump += timedelta(minutes=1)
    return jump


def _values(field: Field, text: str) -> set[int]:
    values: set[int] = set()
    for part in text.lower().split(","):
        span, slash, step_text = part.partition("/")
        step = int(step_text) if step_text.isdigit() else 0
        if slash and step < 1:
            raise ScheduleError(f"the {field.name} {part!r} has no step above zero")
        first, dash, last = span.partition("-")
        if span in ("*", "?"):
            start, end = field.low, field.high
        else:
            start = _number(field, first)
            end = _number(field, last) if dash else (field.high if slash else start)
        if start > end:
            raise ScheduleError(f"the {field.name} {part!r} runs backwards")
        values.update(range(start, end + 1, step or 1))
    return values


def _number(field: Field, text: str) -> int:
    if text and text in field.words:
        return field.words.index(text)
    if not text.isdigit() or not field.low <= int(text) <= field.high:
        limits = f"between {field.low} and {field.high}"
        raise ScheduleError(f"the {field.name} {text!r} is not {limits}")
    return int(text)
