"""Runs agents in this process, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .._agent import Agent
from .._duration import milliseconds
from .._event import Alert, Event
from .._identifiers import generate_id
from ._bus import Bus, plain_event
from ._clock import DEFAULT_START, Clock
from ._http_routes import HttpRoutes
from ._llm_script import LLMScript
from ._member import Member, SimulatedCrash
from ._memory import MemoryView
from ._metrics_view import MetricsView
from ._sandboxes import SandboxScript

if TYPE_CHECKING:
    from .._duration import Duration

__all__ = ["Harness", "SimulatedCrash"]

# Two agents that answer each other for ever are a bug of the test or of the agents.
MAX_DELIVERIES = 100_000


class Harness:
    """One agent, or several that share a bus.

    With several, the first is the one that `run`, `state`, `metrics` and `agent` speak of;
    `h["name"]` is a harness for another one of them. Events are delivered at once, as far as they
    lead. Time stands still but for `advance`.
    """

    def __init__(
        self,
        *classes: type[Agent],
        config: dict[str, Any] | None = None,
        configs: dict[str, dict[str, Any]] | None = None,
        start: datetime = DEFAULT_START,
        grants: Iterable[str] = ("shared", "read_from"),
        notifiers: Iterable[str] = (),
        secrets: Iterable[str] = (),
        sandboxes: Iterable[str] = (),
    ) -> None:
        if not classes:
            raise TypeError("a harness needs at least one agent class")
        self.clock = Clock(start)
        self.http = HttpRoutes()
        self.llm = LLMScript()
        self.grants = frozenset(grants) | {f"sandbox:{name}" for name in sandboxes}
        self._bus = Bus(self.clock)
        self._members: dict[str, Member] = {}
        answer = {"notifiers": list(notifiers), "secrets": list(secrets)}
        for cls in classes:
            member = Member(self, self._bus, cls, {}, **answer)
            given = (configs or {}).get(member.name, config or {})
            member._answer["config"] = given
            if member.name in self._members:
                raise ValueError(f"two agents are named {member.name}")
            self._members[member.name] = member
            self._bus.mailboxes[member.name] = member.mailbox
        self._first = next(iter(self._members.values()))

    def __getitem__(self, name: str) -> Harness:
        """Return a harness for another agent of this one's bus."""
        view = object.__new__(Harness)
        view.__dict__.update(self.__dict__)
        view._first = self._members[name]
        return view

    async def start(self) -> Agent:
        """Call `setup()` and return the agent; everything else does so by itself."""
        return await self._first.start()

    async def stop(self) -> None:
        """Call `teardown()`; what comes next starts the agent anew."""
        await self._first.stop()

    async def restart(self) -> Agent:
        """Start the agent anew, after a crash or as by one; unfinished events come again."""
        self._first.kill()
        agent = await self._first.start()
        await self.settle()
        return agent

    async def run(self, payload: Any = None) -> Any:
        """Do one run and return its result, or raise what the run raised."""
        item = self._bus.submit_run(self._first.name, "manual", payload)
        result = await self._first.perform(item)
        await self.settle()
        return result

    async def deliver(
        self, name: str, data: Any = None, *, source: str = "test", key: str | None = None
    ) -> None:
        """Publish an event as another agent would, and deliver it.

        A handler that fails gets it again, as in a fleet; what it raised at the last attempt is
        raised here.
        """
        self._bus.publish(source, plain_event(name, data, f"e_{generate_id()}", key))
        await self.settle()

    async def settle(self) -> None:
        """Deliver every event that waits, and those that follow from them."""
        first_error: Exception | None = None
        for _ in range(MAX_DELIVERIES):
            waiting = [m for m in self._members.values() if self._can_take(m)]
            if not waiting:
                break
            try:
                await waiting[0].deliver_next()
            except Exception as error:
                first_error = first_error or error
        else:
            raise AssertionError(f"events go on after {MAX_DELIVERIES} deliveries")
        if first_error is not None:
            raise first_error

    async def advance(self, duration: Duration) -> None:
        """Move the clock, firing schedules and delayed events on the way, in their order.

        The first call begins at the start of the schedules, so `every` fires at once too. When
        all has been done, the first failure is raised.
        """
        end = self.clock.after(milliseconds(duration))
        failures: list[Exception] = []
        while True:
            due = [
                (when, member) for member in self._members.values() if (when := self._due(member))
            ]
            moments = [when for when, _ in due] + [entry[0] for entry in self._bus.delayed]
            moment = min(moments, default=end)
            if moment > end or not moments:
                break
            self.clock.now = max(moment, self.clock.now)
            self._bus.release_due()
            try:
                for when, member in due:
                    if when <= moment:
                        await member.fire()
                await self.settle()
            except Exception as error:
                failures.append(error)
        self.clock.now = end
        if failures:
            raise failures[0]

    def crash_after(self, point: str, count: int = 1) -> None:
        """Kill the agent after its count-th effect of a kind from now on.

        Kinds: `state.get`, `.set`, `.delete`, `.transaction`, the same with `shared.`, `emit`,
        `http`, `llm`, `alert`, and `done`, the moment when an outcome has been committed.
        The call under way raises SimulatedCrash; `restart` goes on from there.
        """
        self._first.crash_after(point, count)

    async def live(self) -> bool:
        """Return what a liveness probe would hear."""
        return await self._probe("liveness_check")

    async def ready(self) -> bool:
        """Return what a readiness probe would hear."""
        return await self._probe("readiness_check")

    @property
    def agent(self) -> Any:
        """The agent's object, once started."""
        if self._first.agent is None:
            raise RuntimeError("the agent is not started; await h.start()")
        return self._first.agent

    @property
    def now(self) -> datetime:
        """The time in this harness."""
        return self.clock.now

    @property
    def state(self) -> MemoryView:
        """The agent's state; a test may also set it."""
        return self.state_of(self._first.name)

    def state_of(self, agent: str) -> MemoryView:
        """Return the state of any agent, also one that is not part of the harness."""
        return MemoryView(self._bus.memory_of(agent))

    @property
    def shared(self) -> MemoryView:
        """The shared state."""
        return MemoryView(self._bus.shared)

    @property
    def emitted(self) -> list[Event]:
        """Every event that was published, in order."""
        return self._bus.emitted

    @property
    def alerts(self) -> list[Alert]:
        """Every alert that was sent."""
        return self._bus.alerts

    @property
    def notices(self) -> list[tuple[str, str]]:
        """What was sent through the project's notifiers: which, and the text."""
        return self._bus.notices

    @property
    def metrics(self) -> MetricsView:
        """The agent's metrics."""
        return self._bus.metrics_of(self._first.name)

    @property
    def failures(self) -> list[Exception]:
        """What runs and handlers of the agent have raised."""
        return self._first.failures

    @property
    def dead_letters(self) -> list[dict[str, Any]]:
        """Events that were given up."""
        return self._first.dead_letters

    @property
    def fleet_calls(self) -> list[tuple[str, str, str]]:
        """Fleet control that was used: by whom, what, on whom."""
        return self._bus.fleet_calls

    @property
    def sandboxes(self) -> SandboxScript:
        """What comes of commands in sandboxes, and which there were."""
        return self._bus.sandboxes

    def limit_state(self, max_bytes: int) -> None:
        """Set how large the agent's state may become."""
        self._bus.memory_of(self._first.name).max_bytes = max_bytes

    async def __aenter__(self) -> Harness:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for member in self._members.values():
            await member.stop()

    def _can_take(self, member: Member) -> bool:
        return bool(member.mailbox.waiting) and member.mailbox.phase == "running"

    def _due(self, member: Member) -> datetime | None:
        return member.plan(self.clock.now)

    async def _probe(self, method: str) -> bool:
        try:
            return bool(await self._first.call(method))
        except Exception:
            return False
