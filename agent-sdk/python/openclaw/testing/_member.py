"""One agent in a harness: its process, so to speak, which may crash and start again."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from .._agent import Agent, name_of
from .._declaration import schedule_of
from .._errors import ProtocolError, Reject
from .._execution import Execution, invoke
from .._handlers import handlers_of
from .._slots import next_slot
from .._work import Scope, current
from ._bus import MAX_ATTEMPTS, Bus, Mailbox
from ._endpoint import MemoryLink

if TYPE_CHECKING:
    from datetime import datetime

    from ._harness import Harness


class SimulatedCrash(BaseException):
    """The process ended here, as by SIGKILL; no `except Exception` of an author sees it."""


class Member:
    """Runs one agent class against the bus."""

    def __init__(
        self, harness: Harness, bus: Bus, cls: type[Agent], config: dict[str, Any], **answer: Any
    ) -> None:
        self._harness = harness
        self._bus = bus
        self._cls = cls
        self._answer = {"config": config, **answer}
        self._countdown: dict[str, int] = {}
        self.name = name_of(cls)
        self.mailbox = Mailbox(self.name, self._wants)
        self.agent: Agent | None = None
        self.link: MemoryLink | None = None
        self.failures: list[Exception] = []
        self.dead_letters: list[dict[str, Any]] = []
        self.next_due: datetime | None = None
        self.anchor: datetime | None = None

    def crash_after(self, point: str, count: int) -> None:
        """Crash after the count-th effect of that kind from now on."""
        self._countdown[point] = count

    async def start(self) -> Agent:
        """Make the object and call `setup()`, as a new process would."""
        if self.agent is not None:
            return self.agent
        agent = self._cls()
        self.link = MemoryLink(self._bus, self.name, self._harness.grants)
        agent.__dict__["_witness"] = self._witness
        agent.__dict__["_clock"] = self._bus.clock.iso
        agent.__dict__["_http_transport"] = self._harness.http.transport
        agent.__dict__["_completions"] = self._harness.llm.complete
        agent._bind(self.link, asyncio.get_running_loop(), name=self.name)
        agent._configure(self._answer)
        self.agent = agent
        await self._in_scope(agent.setup)
        return agent

    async def stop(self) -> None:
        """Call `teardown()` and let go of the object."""
        agent, self.agent = self.agent, None
        if agent is not None:
            await self._in_scope(agent.teardown, agent)

    def kill(self) -> None:
        """Let go of the object as by SIGKILL."""
        if self.link is not None:
            self.link.dead = SimulatedCrash("this process is dead")
        self.agent = None

    async def call(self, method: str) -> Any:
        """Call a method of the agent, as a probe does."""
        agent = await self.start()
        return await self._in_scope(getattr(agent, method), agent)

    async def perform(self, item: dict[str, Any]) -> Any:
        """Do one attempt at a work item; return its result, or raise what the author raised."""
        agent = await self.start()
        execution = Execution(agent, item)
        seen: list[Exception] = []
        execution.on_failure = seen.append
        try:
            body = json.loads(await asyncio.create_task(execution.perform()))
            self._flush(agent)
            self._bus.finish(self.name, item, body)
            self._witness("done")
        except SimulatedCrash:
            self.kill()
            raise
        except ProtocolError as refusal:
            await asyncio.create_task(execution.refused(refusal))
            seen.append(refusal)
        if seen:
            self.failures.append(seen[0])
            raise seen[0]
        return body.get("result")

    async def deliver_next(self) -> None:
        """Do the item that waits longest; a failed event comes again until it is given up."""
        item = self.mailbox.waiting[0]
        try:
            await self.perform(item)
        except SimulatedCrash as crash:
            if str(crash).startswith("done"):
                self.mailbox.waiting.popleft()
            else:
                item["attempt"] += 1
            raise
        except Exception as error:
            final = isinstance(error, Reject) or item["kind"] == "run"
            if final or item["attempt"] >= MAX_ATTEMPTS:
                self.mailbox.waiting.popleft()
                self.dead_letters += [item] if item["kind"] == "event" else []
                raise
            item["attempt"] += 1
        else:
            self.mailbox.waiting.popleft()

    def plan(self, now: datetime) -> datetime | None:
        """Return when the schedule is due next, counted from the first time it was asked."""
        schedule = schedule_of(self._cls)
        if schedule is None:
            return None
        if self.anchor is None:
            self.anchor = now
            self.next_due = now if schedule.run_on_start else next_slot(schedule, now, now)
        return self.next_due

    async def fire(self) -> Any:
        """Run what is due."""
        schedule = schedule_of(self._cls)
        assert schedule is not None, "only what is planned is due"
        assert self.anchor is not None, "planning sets the anchor"
        at_start = self.next_due == self.anchor and schedule.run_on_start
        self.next_due = next_slot(schedule, self._bus.clock.now, self.anchor)
        if self.mailbox.phase != "running":
            return None
        kind = "start" if at_start else "schedule"
        return await self.perform(self._bus.submit_run(self.name, kind))

    def _wants(self, name: str, source: str) -> bool:
        return any(
            subscription.matches(name, source)
            for handler in handlers_of(self._cls)
            for subscription in handler.subscriptions
        )

    def _witness(self, point: str) -> None:
        left = self._countdown.get(point, 0)
        if left == 1:
            del self._countdown[point]
            if self.link is not None:
                self.link.dead = SimulatedCrash("this process is dead")
            raise SimulatedCrash(f"{point}: the process was killed after it")
        if left:
            self._countdown[point] = left - 1

    def _flush(self, agent: Agent) -> None:
        """Take metrics that were set outside of any work, which a process sends each second."""
        self._bus.metrics_of(self.name).take(agent.metrics.drain())

    async def _in_scope(self, method: Any, agent: Agent | None = None) -> Any:
        agent = agent or self.agent
        assert agent is not None, "an author's method is called on a living agent"

        async def call() -> Any:
            current.set(Scope(agent, None))
            return await invoke(method)

        try:
            return await asyncio.create_task(call())
        except SimulatedCrash:
            self.kill()
            raise
        finally:
            self._flush(agent)
