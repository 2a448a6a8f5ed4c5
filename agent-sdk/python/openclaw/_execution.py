"""One attempt at one piece of work: from the item that was pulled to the body of `done`."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from ._agent import Agent
from ._deadline import timeout
from ._errors import Cancelled, ProtocolError, Reject, RetryLater, VersionConflict
from ._event import Event, Trigger, parse_time
from ._handlers import Handler, handlers_of, is_buffered
from ._work import Scope, Work, current

MAX_MESSAGE_CHARACTERS = 2000
MAX_TRACE_CHARACTERS = 16_000
ON_ERROR_SECONDS = 10.0


class Execution:
    """Runs the author's code for one work item."""

    def __init__(self, agent: Agent, fields: dict[str, Any]) -> None:
        self._agent = agent
        self.work = work_of(fields)
        self._known = fields["kind"] in ("run", "event")
        self._task: asyncio.Task[Any] | None = None
        self._reason: str | None = None
        self.abandoned = False
        self.on_failure: Callable[[Exception], None] | None = None

    def cancel(self, reason: str) -> None:
        """Interrupt the author's code; it is reported as an error of type Cancelled."""
        self._reason = reason
        if self._task is not None:
            self._task.cancel()

    def abandon(self) -> None:
        """Interrupt the author's code and report nothing: it is somebody else's work now."""
        self.abandoned = True
        self.cancel("abandoned")

    async def perform(self) -> bytes:
        """Run the author's code and return the body of `done`."""
        begun = time.monotonic()
        current.set(Scope(self._agent, self.work))
        result: Any = None
        error: dict[str, Any] | None = None
        try:
            result = await self._bounded()
        except Exception as problem:
            self.work.forget_writes()
            if self.on_failure:
                self.on_failure(problem)
            error = _error_fields(problem)
            await self._tell_author(problem)
        self.work.over = True
        duration_ms = round((time.monotonic() - begun) * 1000)
        fields: dict[str, Any] = {"ok": error is None, "duration_ms": duration_ms}
        if error is not None:
            return self.work.done_body({**fields, "error": error})
        try:
            return self.work.done_body({**fields, "result": _plain(result)})
        except (TypeError, ValueError) as problem:
            self._agent.logger.warning("the result of the run is not JSON: %s", problem)
            return self.work.done_body(fields)

    async def refused(self, refusal: ProtocolError) -> None:
        """Tell the author that the outcome was not taken; a lost race is only tried again."""
        if isinstance(refusal, VersionConflict):
            self._agent.logger.info("to be done again, somebody was faster: %s", refusal)
            return
        current.set(Scope(self._agent, self.work))
        await self._tell_author(refusal)

    async def _bounded(self) -> Any:
        if self._reason is not None:
            raise Cancelled(self._reason)
        limit = None if self.work.timeout_ms is None else self.work.timeout_ms / 1000
        self._task = asyncio.get_running_loop().create_task(self._author())
        clock = timeout(limit)
        try:
            async with clock:
                return await _outcome(self._task)
        except _Interrupted:
            reason = self._reason or "the agent's own code cancelled its task"
            raise Cancelled(reason) from None
        except TimeoutError as problem:
            if not clock.expired():
                raise
            raise TimeoutError(f"not done within {limit:g} s") from problem

    async def _author(self) -> Any:
        if self.work.kind == "run":
            self.work.buffered = is_buffered(type(self._agent).run, "through")
            return await invoke(self._agent.run)
        if not self._known or not self.work.given:
            raise Reject(f"unsupported work of kind {self.work.kind!r}")
        unheard = set(range(len(self.work.given)))
        for handler in handlers_of(type(self._agent)):
            heard = [n for n, event in enumerate(self.work.given) if handler.takes(event)]
            unheard.difference_update(heard)
            await self._handle(handler, [self.work.given[n] for n in heard])
        if unheard:
            # An event of the fleet file's `subscribe`, for a class that only has a run.
            self.work.buffered = is_buffered(type(self._agent).run, "buffered")
            return await invoke(self._agent.run)
        return None

    async def _handle(self, handler: Handler, events: list[Event]) -> None:
        if not events:
            return
        self.work.buffered = handler.buffered
        method = getattr(self._agent, handler.method)
        if handler.batch:
            await invoke(method, events)
            return
        for event in events:
            await invoke(method, event)

    async def _tell_author(self, problem: Exception) -> None:
        if self.abandoned:
            return
        try:
            async with timeout(ON_ERROR_SECONDS):
                await invoke(self._agent.on_error, problem)
        except Exception:
            self._agent.logger.exception("on_error failed")


class _Interrupted(Exception):
    """The author's task was cancelled, and not whoever waits for it."""


async def _outcome(task: asyncio.Task[Any]) -> Any:
    """Return what a task returns; to cancel the wait is to cancel the task.

    Unlike `await task` this tells a wait that was cancelled from an author who let a
    CancelledError out: the latter is a failure to report, or the work would never be settled.
    """
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    if task.cancelled():
        raise _Interrupted
    return task.result()


def work_of(fields: dict[str, Any]) -> Work:
    """Build the work of an item, with its trigger and events."""
    attempt = fields["attempt"]
    raw = fields.get("trigger") or {}
    slot = raw.get("slot")
    trigger = Trigger(
        kind=raw.get("kind", fields["kind"]),
        payload=raw.get("payload"),
        slot=parse_time(slot) if slot else None,
        run=fields.get("run"),
        attempt=attempt,
    )
    items = [item for item in fields.get("items") or [fields] if item.get("event")]
    given = [Event.from_wire(item["event"], item["attempt"]) for item in items]
    return Work(fields, trigger, given)


def pieces_of(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the items of a batch together: they are handled, and reported, as one piece of work."""
    pieces: list[dict[str, Any]] = []
    batches: dict[str, dict[str, Any]] = {}
    for item in items:
        batch = item.get("batch")
        if batch is None:
            pieces.append(item)
        elif batch in batches:
            batches[batch]["items"].append(item)
        else:
            # A batch that comes again is another one, so there is no second attempt at it.
            piece = {**item, "work": batch, "run": batch, "attempt": 1, "items": [item]}
            batches[batch] = piece
            pieces.append(piece)
    for piece in batches.values():
        longest = max(piece["items"], key=lambda item: item["event"].get("hops", 0))
        piece["traceparent"] = longest.get("traceparent")
    return pieces


async def invoke(method: Callable[..., Any], *arguments: Any) -> Any:
    """Call an author's method: an async one here, a plain one in a thread."""
    if inspect.iscoroutinefunction(method):
        return await method(*arguments)
    result = await asyncio.to_thread(_counted, method, *arguments)
    # A plain method may still hand back a coroutine, as decorators do.
    return await result if asyncio.iscoroutine(result) else result


def threads_busy() -> bool:
    """Say whether a plain method of the author is still at it; nothing can interrupt it."""
    return bool(_threads)


_threads: set[int] = set()


def _counted(method: Callable[..., Any], *arguments: Any) -> Any:
    own = threading.get_ident()
    _threads.add(own)
    try:
        return method(*arguments)
    finally:
        _threads.discard(own)


def _error_fields(problem: Exception) -> dict[str, Any]:
    trace = "".join(traceback.format_exception(type(problem), problem, problem.__traceback__))
    fields: dict[str, Any] = {
        "type": type(problem).__name__,
        "message": str(problem)[:MAX_MESSAGE_CHARACTERS],
        "trace": trace[-MAX_TRACE_CHARACTERS:],
        "retryable": not isinstance(problem, Reject),
    }
    if isinstance(problem, Reject) and str(problem).startswith("unsupported work"):
        fields["type"] = "unsupported"
    if isinstance(problem, RetryLater):
        fields["retry_after_ms"] = round(problem.after * 1000)
    return fields


def _plain(result: Any) -> Any:
    """Return a result that JSON holds, or raise."""
    return json.loads(json.dumps(result))
