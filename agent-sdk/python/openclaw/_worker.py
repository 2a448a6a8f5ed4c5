"""Pulls work and does it, at most so many pieces at once.

asking ──► paused ──► asking        nothing is sent that was not asked for
  └──────► draining ──► idle        what is under way is finished and reported
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from ._background import OnBroken, watch
from ._deadline import TIMEOUTS, timeout
from ._errors import LeaseLost, ProtocolError, VersionConflict
from ._execution import Execution, pieces_of

if TYPE_CHECKING:
    from ._agent import Agent
    from ._link import SocketLink

WAIT_SECONDS = 30
# A server that answers at once with nothing must not be asked in a tight loop.
MIN_POLL_SECONDS = 0.02
# An open poll is left to the server to end, but not for longer than this when stopping.
POLL_END_SECONDS = 0.5
# A poll that is not answered for so much longer than it asked for was forgotten.
POLL_GRACE_SECONDS = 30
# What is to be reported again, without a word about when.
REPORT_AGAIN_SECONDS = 1.0


class Worker:
    """Keeps `max_concurrency` pieces of work going."""

    def __init__(self, agent: Agent, link: SocketLink, on_broken: OnBroken) -> None:
        self._agent = agent
        self._link = link
        self._on_broken = on_broken
        self._max = 1
        self._wait_seconds = WAIT_SECONDS
        self._running: dict[str, Execution] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._poll: asyncio.Task[None] | None = None
        self._paused = False
        self._draining = False
        self._asking = False
        self._closing = False
        self._changed = asyncio.Event()
        self._poll_over = asyncio.Event()
        self._poll_over.set()

    def configure(self, answer: dict[str, Any]) -> None:
        """Take in what hello said about concurrency and about work that was under way."""
        self._max = max(1, int(answer.get("max_concurrency") or 1))
        limits = answer.get("limits") or {}
        self._wait_seconds = min(WAIT_SECONDS, limits.get("wait_s", WAIT_SECONDS))
        for item in answer.get("abandon") or []:
            execution = self._running.get(item["work"])
            if execution and execution.work.attempt == item.get("attempt"):
                execution.abandon()
        self._notify()

    def start(self) -> None:
        """Begin to ask for work."""
        self._asking = True
        self._poll = asyncio.get_running_loop().create_task(self._ask())
        watch(self._poll, "asking for work", self._on_broken, lambda: self._asking)

    def pause(self) -> None:
        """Ask for no more until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Ask again."""
        self._paused = self._draining = False
        self._notify()

    def drain(self) -> None:
        """Ask for no more, and finish what is under way."""
        self._draining = True
        self._notify()

    def running(self) -> list[dict[str, Any]]:
        """Return what has been pulled and not yet answered as done."""
        return [{"work": key, "attempt": e.work.attempt} for key, e in self._running.items()]

    def cancel(self, work: str | None, attempt: int | None, reason: str) -> None:
        """Interrupt one attempt, if it is under way here."""
        execution = self._running.get(work or "")
        if execution and attempt in (None, execution.work.attempt):
            execution.cancel(reason)

    def abandon_all(self) -> None:
        """Interrupt everything and report nothing."""
        for execution in self._running.values():
            execution.abandon()

    async def idle(self) -> None:
        """Wait until nothing is under way, or the drain has been taken back."""
        await self._poll_ended(POLL_END_SECONDS)
        while self._draining and self._tasks:
            self._changed.clear()
            await self._changed.wait()

    async def finish(self, seconds: float) -> None:
        """Let work finish for so long, then interrupt it, and report everything."""
        await self._poll_ended(min(POLL_END_SECONDS, seconds / 4))
        self._asking = False
        if self._poll:
            self._poll.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds * 0.8)
        for execution in list(self._running.values()):
            execution.cancel("the agent was stopped")
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds * 0.2)

    async def close(self) -> None:
        """Let go of everything."""
        self._asking = False
        self._closing = True
        tasks = [*self._tasks, *([self._poll] if self._poll else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self) -> None:
        while True:
            free = self._max - len(self._running)
            if self._paused or self._draining or free < 1:
                self._changed.clear()
                await self._changed.wait()
                continue
            begun = asyncio.get_running_loop().time()
            self._poll_over.clear()
            try:
                for fields in pieces_of(await self._pull(free)):
                    self._begin(fields)
            finally:
                self._poll_over.set()
            spent = asyncio.get_running_loop().time() - begun
            if spent < MIN_POLL_SECONDS and not self._running:
                await asyncio.sleep(MIN_POLL_SECONDS - spent)

    async def _poll_ended(self, seconds: float) -> None:
        """Wait for an open poll, which may still bring work; the server ends it at once."""
        try:
            async with timeout(seconds):
                await self._poll_over.wait()
        except TIMEOUTS:
            self._agent.logger.debug("the supervisor left a poll open")

    async def _pull(self, free: int) -> list[dict[str, Any]]:
        path = f"/v1/work?wait={self._wait_seconds}&max={free}"
        try:
            async with timeout(self._wait_seconds + POLL_GRACE_SECONDS):
                reply = await self._link.call("GET", path)
        except ProtocolError as error:
            self._agent.logger.warning("asking for work was refused: %s", error)
            await asyncio.sleep((error.retry_after_ms or 1000) / 1000)
            return []
        except TIMEOUTS:
            # Its answer may have been on the way; hello says that it did not come.
            self._agent.logger.warning("the supervisor does not answer when asked for work")
            self._link.lost()
            return []
        return json.loads(reply.body) if reply.status == 200 else []

    def _begin(self, fields: dict[str, Any]) -> None:
        known = self._running.get(fields["work"])
        if known is not None:
            if known.work.attempt == fields["attempt"]:
                return
            # A later attempt of the same work: the earlier one is no longer ours to report.
            known.abandon()
        execution = Execution(self._agent, fields)
        self._running[fields["work"]] = execution
        task = asyncio.get_running_loop().create_task(self._do(execution))
        self._tasks.add(task)
        task.add_done_callback(self._end_of_task)
        # Work that is neither done nor reported stays with this process as long as it lives.
        watch(task, "doing a piece of work", self._on_broken, lambda: not self._closing)

    async def _do(self, execution: Execution) -> None:
        try:
            body = await execution.perform()
            if not execution.abandoned:
                await self._report(execution, body)
        finally:
            if self._running.get(execution.work.id) is execution:
                del self._running[execution.work.id]
            self._notify()

    async def _report(self, execution: Execution, body: bytes) -> None:
        path = f"/v1/work/{execution.work.id}/done"
        try:
            await self._link.call("POST", path, body)
        except LeaseLost:
            self._lease_lost(execution)
        except ProtocolError as error:
            await execution.refused(error)
            await self._report_refusal(execution, error)
        else:
            self._agent._witness("done")

    async def _report_refusal(self, execution: Execution, refusal: ProtocolError) -> None:
        """Settle work whose outcome was refused for what it contained."""
        execution.work.forget_writes()
        execution.work.metrics = []
        error = {
            "type": refusal.code,
            "message": str(refusal)[:2000],
            "trace": "",
            "retryable": isinstance(refusal, VersionConflict),
        }
        body = execution.work.done_body({"ok": False, "error": error})
        while True:
            try:
                await self._link.call("POST", f"/v1/work/{execution.work.id}/done", body)
            except LeaseLost:
                self._lease_lost(execution)
            except ProtocolError as again:
                if not again.retryable:
                    raise
                # The disk is full: until there is room again nothing can be settled.
                delay = again.retry_after_ms
                await asyncio.sleep(delay / 1000 if delay else REPORT_AGAIN_SECONDS)
                continue
            return

    def _lease_lost(self, execution: Execution) -> None:
        self._agent.logger.warning("work %s belongs to a later attempt", execution.work.id)

    def _end_of_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
