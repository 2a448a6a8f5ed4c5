"""`@on` and the choice of when a method's writes are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ._errors import ConfigError

if TYPE_CHECKING:
    from ._event import Event

F = TypeVar("F", bound=Callable[..., Any])

_SUBSCRIPTIONS = "__openclaw_subscriptions__"
_WRITES = "__openclaw_writes__"
_BATCH = "__openclaw_batch__"


class Subscription(NamedTuple):
    """An event filter, and from whom."""

    event: str
    source: str | None

    def matches(self, name: str, source: str) -> bool:
        """Say whether an event falls under this subscription."""
        return self.source in (None, source) and _matches(self.event.split("."), name.split("."))


class Handler(NamedTuple):
    """A method with the events it is called for."""

    method: str
    subscriptions: tuple[Subscription, ...]
    buffered: bool
    batch: bool

    def takes(self, event: Event) -> bool:
        """Say whether it is called for an event."""
        return any(one.matches(event.name, event.source) for one in self.subscriptions)


def on(event: str, *, source: str | None = None, batch: bool = False) -> Callable[[F], F]:
    """Call the method for each such event; `*` stands for one token, a last `>` for the rest.

    With `batch=True` it is called with a list: of all events that the fleet file's
    `delivery: {batch: …}` has collected, or of the only one.
    """
    if not isinstance(event, str) or not _is_filter(event):
        raise ConfigError(f"@on({event!r}): an event name is words of a–z 0–9 _ - joined by dots")

    def mark(method: F) -> F:
        known: tuple[Subscription, ...] = getattr(method, _SUBSCRIPTIONS, ())
        setattr(method, _SUBSCRIPTIONS, (Subscription(event, source), *known))
        if known and batch != getattr(method, _BATCH, False):
            raise ConfigError(f"@on({event!r}): a method takes lists of events, or single ones")
        setattr(method, _BATCH, batch)
        return method

    return mark


def buffered(method: F) -> F:
    """Send a method's state writes and emits together, when it has succeeded."""
    setattr(method, _WRITES, "buffered")
    return method


def write_through(method: F) -> F:
    """Send each of a method's state writes and emits at once."""
    setattr(method, _WRITES, "through")
    return method


def is_buffered(method: Any, default: str) -> bool:
    """Say how a method writes; handlers buffer unless told otherwise, `run` does not."""
    return bool(getattr(method, _WRITES, default) == "buffered")


def handlers_of(cls: type) -> list[Handler]:
    """Return the handlers of a class in the order they are written, base classes first."""
    found: dict[str, Handler] = {}
    for base in reversed(cls.__mro__):
        for name in vars(base):
            # The attribute as the class has it now: an override without @on is no handler.
            method = getattr(cls, name, None)
            subscriptions = getattr(method, _SUBSCRIPTIONS, ())
            if subscriptions and name not in found:
                writes, batch = is_buffered(method, "buffered"), getattr(method, _BATCH, False)
                found[name] = Handler(name, subscriptions, writes, batch)
    return list(found.values())


def _is_filter(text: str) -> bool:
    tokens = text.split(".")
    plain = [token for token in tokens if token not in ("*", ">")]
    words = all(token and token.replace("_", "a").replace("-", "a").isalnum() for token in plain)
    return text.isascii() and words and ">" not in tokens[:-1]


def _matches(pattern: list[str], tokens: list[str]) -> bool:
    for index, token in enumerate(pattern):
        if token == ">":
            return len(tokens) > index
        if index >= len(tokens) or token not in ("*", tokens[index]):
            return False
    return len(pattern) == len(tokens)
