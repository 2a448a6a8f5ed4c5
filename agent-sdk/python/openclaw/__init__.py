"""Agents for the OpenClaw supervisor.

```python
from openclaw import Agent, Schedule

class Hello(Agent):
    schedule = Schedule.every(minutes=5)

    async def run(self):
        count = await self.state.update("count", lambda n: n + 1, 0)
        self.logger.info("hello for the %s. time", count)
```

What an agent does not use is not imported: names are looked up when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ._agent import Agent as Agent
    from ._config import Config as Config
    from ._config import Secret as Secret
    from ._errors import BudgetExceededError as BudgetExceededError
    from ._errors import ConfigError as ConfigError
    from ._errors import ConnectError as ConnectError
    from ._errors import Fenced as Fenced
    from ._errors import Forbidden as Forbidden
    from ._errors import HttpError as HttpError
    from ._errors import HttpTimeout as HttpTimeout
    from ._errors import LeaseLost as LeaseLost
    from ._errors import LLMError as LLMError
    from ._errors import LLMNotConfigured as LLMNotConfigured
    from ._errors import LLMParseError as LLMParseError
    from ._errors import NotifierError as NotifierError
    from ._errors import OpenClawError as OpenClawError
    from ._errors import ProtocolError as ProtocolError
    from ._errors import RateLimitError as RateLimitError
    from ._errors import Refused as Refused
    from ._errors import Reject as Reject
    from ._errors import RetryLater as RetryLater
    from ._errors import SandboxError as SandboxError
    from ._errors import ScheduleError as ScheduleError
    from ._errors import StateError as StateError
    from ._errors import StateTooLarge as StateTooLarge
    from ._errors import TimeoutError as TimeoutError
    from ._errors import Unsupported as Unsupported
    from ._errors import VersionConflict as VersionConflict
    from ._event import Alert as Alert
    from ._event import Event as Event
    from ._event import Trigger as Trigger
    from ._handlers import buffered as buffered
    from ._handlers import on as on
    from ._handlers import write_through as write_through
    from ._http import HttpClient as HttpClient
    from ._identifiers import generate_id as generate_id
    from ._identifiers import now_iso as now_iso
    from ._sandbox import Sandbox as Sandbox
    from ._sandbox import SandboxResult as SandboxResult
    from ._schedule import Schedule as Schedule
    from ._sharding import slot_of as slot_of
    from .llm import Budget as Budget
    from .llm import Completion as Completion
    from .llm import LLMRouter as LLMRouter

_HOMES = {
    "_agent": "Agent",
    "_config": "Config Secret",
    "_errors": "BudgetExceededError ConfigError ConnectError Fenced Forbidden HttpError "
    "HttpTimeout LeaseLost LLMError LLMNotConfigured LLMParseError NotifierError OpenClawError "
    "ProtocolError RateLimitError Refused Reject RetryLater SandboxError ScheduleError StateError "
    "StateTooLarge TimeoutError Unsupported VersionConflict",
    "_event": "Alert Event Trigger",
    "_handlers": "buffered on write_through",
    "_http": "HttpClient",
    "_identifiers": "generate_id now_iso",
    "_sandbox": "Sandbox SandboxResult",
    "_schedule": "Schedule",
    "_sharding": "slot_of",
    "llm": "Budget Completion LLMRouter",
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = ["__version__", *_MODULE_OF]  # noqa: PLE0604 - every name is text


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
