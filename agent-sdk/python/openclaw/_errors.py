"""Every exception the package raises, and how codes of the protocol become exceptions."""

from __future__ import annotations

import builtins
from typing import Any


class OpenClawError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigError(OpenClawError, AttributeError, KeyError):
    """Something the fleet file has to say is missing or wrong.

    It is an AttributeError and a KeyError so that `hasattr`, `getattr` with a default and
    `except KeyError` keep their meaning on a config.
    """

    def __str__(self) -> str:
        """Return the bare message, which KeyError would put into quotes."""
        return str(self.args[0]) if self.args else ""


class SourceError(OpenClawError):
    """An author's file could not be imported; its text has the place, and the author's trace."""


class ScheduleError(OpenClawError, ValueError):
    """A schedule that no grammar knows."""


class ProtocolError(OpenClawError):
    """The supervisor refused a request, or answered what is no answer."""

    def __init__(self, message: str, code: str = "internal", **fields: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status: int = fields.get("status", 0)
        self.retryable: bool = bool(fields.get("retryable", False))
        self.retry_after_ms: int | None = fields.get("retry_after_ms")
        self.detail: dict[str, Any] = fields.get("detail") or {}


class Forbidden(ProtocolError):
    """The agent has no right to do this."""


class Fenced(ProtocolError):
    """Another life of this agent has taken over; this one has to end."""


class LeaseLost(ProtocolError):
    """The piece of work belongs to somebody else by now."""


class StateError(ProtocolError):
    """A write to the state was refused."""


class VersionConflict(StateError):
    """The key has changed since it was read."""


class StateTooLarge(StateError):
    """The state, or one value, would pass its limit."""


class Unsupported(ProtocolError):
    """This supervisor cannot do that."""


class Refused(ProtocolError):
    """Fleet control was refused; the message gives the reason."""


class NotifierError(OpenClawError):
    """A message could not be delivered to Slack, PagerDuty or an alert's receiver."""


class HttpError(OpenClawError):
    """A request over HTTP got no answer at all."""


class ConnectError(HttpError, ConnectionError):
    """The other side could not be reached."""


class HttpTimeout(HttpError, builtins.TimeoutError):
    """The other side did not answer in time."""


class SandboxError(Refused):
    """A command could not be run in a sandbox; `reason` says why."""

    @property
    def reason(self) -> str:
        """`sandbox_busy`, `engine_unavailable`, `sandbox_unusable` or `no_such_sandbox`."""
        return str(self.detail.get("reason", ""))


class LLMError(OpenClawError):
    """The language model gave no answer."""


class LLMNotConfigured(LLMError, ConfigError):
    """The fleet has no language model for this agent."""


class RateLimitError(LLMError):
    """The provider, or this agent's allowance, is exhausted for the moment."""


class TimeoutError(LLMError, builtins.TimeoutError):  # noqa: A001 - the name authors write
    """The model did not answer in time."""


class BudgetExceededError(LLMError):
    """The budget in money is spent; the call was not made."""


class LLMParseError(LLMError, ValueError):
    """The answer holds no JSON; the message shows how it begins."""


class Reject(OpenClawError):
    """Raise it in a handler to give an event up at once, without another attempt."""


class Cancelled(OpenClawError):
    """The supervisor, or a stop, interrupted the work."""


class RetryLater(OpenClawError):
    """Raise it to have the work delivered again after a time of your own."""

    def __init__(self, message: str = "later", *, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


_BY_CODE: dict[str, type[ProtocolError]] = {
    "forbidden": Forbidden,
    "topic_not_allowed": Forbidden,
    "fenced": Fenced,
    "lease_lost": LeaseLost,
    "version_conflict": VersionConflict,
    "state_too_large": StateTooLarge,
    "too_large": StateTooLarge,
    "unsupported": Unsupported,
    "refused": Refused,
}


def from_problem(status: int, problem: dict[str, Any]) -> ProtocolError:
    """Turn an error answer into the exception of its code."""
    code = str(problem.get("code", "internal"))
    message = str(problem.get("message") or f"the supervisor answered {status}")
    return _BY_CODE.get(code, ProtocolError)(
        message,
        code,
        status=status,
        retryable=problem.get("retryable", False),
        retry_after_ms=problem.get("retry_after_ms"),
        detail=problem.get("detail"),
    )
