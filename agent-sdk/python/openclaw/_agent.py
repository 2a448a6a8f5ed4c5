"""The class that authors extend."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ._config import Config
from ._errors import Cancelled, ConfigError
from ._event import Alert, Trigger
from ._identifiers import generate_id, now_iso
from ._metrics import Metrics
from ._outgoing import outgoing_event
from ._work import buffering, current, current_work, trace_headers

if TYPE_CHECKING:
    import asyncio
    import logging

    from ._duration import Duration
    from ._fleet import Fleet
    from ._link import Link
    from ._pulse import Pulse
    from ._sandbox import Sandbox
    from ._schedule import Schedule
    from ._state import SharedState, State

T = TypeVar("T")


def _unwitnessed(_: str) -> None:
    """Stand where nobody injects crashes."""


class Agent:
    """An agent: `setup()` once, `run()` on a schedule, methods marked `@on` for events.

    Methods may be `async` or plain; plain ones run in a thread, where `self.wait(…)` takes the
    place of `await`.
    """

    name: str = ""
    schedule: ClassVar[Schedule | str | None] = None

    # Set by `_bind`; an author's `__init__` need not know of them.
    _link: Link
    _loop: asyncio.AbstractEventLoop
    _config: Config
    _notifiers: tuple[str, ...] = ()
    _pulse: Pulse | None = None
    _witness = staticmethod(_unwitnessed)
    replica: int = 0
    replicas: int = 1

    async def setup(self) -> None:
        """Prepare what runs need. The agent gets no work before this has ended."""

    async def run(self) -> Any:
        """Do one unit of work. What is returned is kept with the run's record."""

    async def teardown(self) -> None:
        """Let go of what `setup` took, when the agent is asked to stop."""

    async def on_error(self, exc: Exception) -> None:
        """Take note of a failed run or handler; the default logs it."""
        self.logger.error("%s: %s", type(exc).__name__, exc, exc_info=exc)

    async def liveness_check(self) -> bool:
        """Say whether the process is of use at all; False leads to a restart."""
        return self.event_loop_responsive()

    async def readiness_check(self) -> bool:
        """Say whether work can be done now; False holds events back and restarts nothing."""
        return True

    async def emit(
        self,
        name: str,
        data: Any = None,
        *,
        key: str | None = None,
        delay: Duration | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Publish an event and return its id; it is stored for good when this returns.

        In handlers of events it is sent with the outcome. The same `idempotency_key` again is the
        same event.
        """
        event_id, event = outgoing_event(
            name, data, key=key, delay=delay, idempotency_key=idempotency_key
        )
        work = buffering()
        if work is not None:
            work.events.append(event)
        else:
            reply = await self._link.call("POST", "/v1/events", event, trace_headers())
            event_id = json.loads(reply.body).get("id", event_id)
        self._witness("emit")
        return event_id

    async def alert(
        self,
        alert: Alert | str,
        *,
        severity: str = "warning",
        details: dict[str, Any] | None = None,
        dedup_key: str | None = None,
    ) -> None:
        """Tell the people whom the fleet file's notifiers reach, at once."""
        if isinstance(alert, str):
            alert = Alert(alert, severity, details or {}, dedup_key)
        body = json.dumps(vars(alert), default=str).encode()
        await self._link.call("POST", "/v1/alerts", body, trace_headers())
        self._witness("alert")

    async def status(self, text: str, progress: float | None = None) -> None:
        """Show what the agent is doing, and that it is doing something."""
        body = json.dumps({"status": text[:200], "progress": progress}).encode()
        await self._link.call("POST", "/v1/status", body)

    def wait(self, awaitable: Coroutine[Any, Any, T]) -> T:
        """Wait for something asynchronous from a plain method, which runs in a thread."""
        import asyncio

        scope = current.get()
        if scope and scope.work and scope.work.over:
            awaitable.close()
            raise Cancelled("the work was interrupted")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result()
        awaitable.close()
        raise RuntimeError("self.wait() is for plain methods; an async one uses `await`")

    @property
    def config(self) -> Config:
        """`config` of the fleet file, secrets resolved."""
        return self._config

    @property
    def state(self) -> State:
        """What this agent remembers."""
        return self.__dict__["_state"]  # type: ignore[no-any-return]

    @property
    def shared_state(self) -> SharedState:
        """What agents of the fleet remember together."""
        return self.__dict__["_shared_state"]  # type: ignore[no-any-return]

    @property
    def fleet(self) -> Fleet:
        """Control over other agents, where it is granted."""
        from ._fleet import Fleet

        return Fleet(self._link)

    def sandbox(self, name: str) -> Sandbox:
        """Return a sandbox of the fleet file, for running code in it."""
        from ._sandbox import Sandbox

        return Sandbox(self._link, name)

    @property
    def metrics(self) -> Metrics:
        """Gauges, counters, histograms."""
        return self.__dict__["_metrics"]  # type: ignore[no-any-return]

    @property
    def logger(self) -> logging.Logger:
        """A standard logger whose lines carry agent, run and trace."""
        from ._logging import logger_of

        return logger_of(self.name)

    @property
    def trigger(self) -> Trigger:
        """Why the present run was started, with the payload of a manual trigger."""
        work = current_work()
        return work.trigger if work else Trigger()

    @property
    def http(self) -> Any:
        """An HTTP client, there without setup; another may be assigned."""
        if "_http" not in self.__dict__:
            from ._http import HttpClient

            self.__dict__["_http"] = HttpClient()
        return self.__dict__["_http"]

    @http.setter
    def http(self, client: Any) -> None:
        self.__dict__["_http"] = client

    @property
    def llm(self) -> Any:
        """The fleet file's default models; an `LLMRouter` may be assigned."""
        if "_llm" not in self.__dict__:
            from .llm import LLMRouter

            self.__dict__["_llm"] = LLMRouter()
        return self.__dict__["_llm"]

    @llm.setter
    def llm(self, router: Any) -> None:
        self.__dict__["_llm"] = router

    @property
    def slack(self) -> Any:
        """Slack by `config.slack_webhook`, else by the project's notifier; assignable."""
        if "_slack" not in self.__dict__:
            self.__dict__["_slack"] = self._make_slack()
        return self.__dict__["_slack"]

    @slack.setter
    def slack(self, notifier: Any) -> None:
        self.__dict__["_slack"] = notifier

    def now_iso(self) -> str:
        """Return the time in UTC as ISO 8601; in a harness that of its clock."""
        clock: Callable[[], str] = self.__dict__.get("_clock", now_iso)
        return clock()

    @staticmethod
    def generate_id() -> str:
        """Return a unique text; later ones sort after earlier ones."""
        return generate_id()

    def event_loop_responsive(self) -> bool:
        """Say whether the event loop has been less than a second late."""
        return self._pulse is None or self._pulse.responsive()

    def parse_rss(self, text: Any) -> list[dict[str, str]]:
        """Return the entries of an RSS or Atom feed: id, title, link, content."""
        from ._feeds import parse_rss

        return parse_rss(text)

    def parse_cpu(self, metric: Any) -> float:
        """Return a CPU quantity such as `250m` as percent of one core."""
        from ._quantities import parse_cpu

        return parse_cpu(metric)

    def _make_slack(self) -> Any:
        from ._notifiers import MissingNotifier, ProjectNotifier, SlackNotifier

        webhook = self.config.get("slack_webhook")
        if webhook:
            return SlackNotifier(webhook_url=webhook)
        if "slack" in self._notifiers:
            return ProjectNotifier(self._link, "slack")
        return MissingNotifier(self.name)

    def _bind(self, link: Link, loop: asyncio.AbstractEventLoop, *, name: str) -> None:
        """Connect the object to its supervisor."""
        from ._state import SharedState, State

        self._link = link
        self._loop = loop
        self._config = Config(agent=name)
        self.name = name
        self.__dict__["_metrics"] = Metrics()
        self.__dict__["_state"] = State(link, "state", self._witness)
        self.__dict__["_shared_state"] = SharedState(link, "shared", self._witness)

    def _configure(self, answer: dict[str, Any]) -> None:
        """Take in what hello answered."""
        secrets = answer.get("secrets") or []
        self._config = Config(answer.get("config") or {}, agent=self.name, secrets=secrets)
        self._notifiers = tuple(answer.get("notifiers") or ())
        self.replica = answer.get("replica") or 0
        self.replicas = answer.get("replicas") or 1


def declared_name(cls: type[Agent]) -> str | None:
    """Return the name a class declares itself, which has to be the one in the fleet file."""
    name = cls.name
    if not isinstance(name, str):
        raise ConfigError(f"{cls.__name__}.name is {name!r}; a name is text")
    return name or None


def name_of(cls: type[Agent]) -> str:
    """Return the declared name, else the class name in kebab-case."""
    declared = declared_name(cls)
    if declared:
        return declared
    import re

    words = re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+", cls.__name__)
    return "-".join(words).lower()
