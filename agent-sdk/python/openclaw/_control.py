"""The long answer through which the supervisor speaks, and what is done about each line."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ._background import watch
from ._deadline import TIMEOUTS, timeout
from ._errors import ProtocolError
from ._execution import invoke
from ._link import FIRST_DELAY, LAST_DELAY, SocketLink

if TYPE_CHECKING:
    from ._session import Session

MAX_LINE_BYTES = 256 * 1024
# After a reconnect the server repeats what is in force; this many ids are recognised.
REMEMBERED_IDS = 1000
MISSED_HEARTBEATS = 3
LAST_ANSWERS_SECONDS = 0.5


class Control:
    """Holds the control stream open and obeys it."""

    def __init__(self, session: Session, link: SocketLink) -> None:
        self._session = session
        self._link = link
        self._task: asyncio.Task[None] | None = None
        self._heartbeat = 10.0
        self._answers: OrderedDict[str, dict[str, Any] | None] = OrderedDict()
        self._busy: set[asyncio.Task[None]] = set()
        self._closing = False

    def reconnect(self, heartbeat: float) -> None:
        """Open the stream of the present session, in place of the one before."""
        self._heartbeat = heartbeat
        if self._task is not None:
            self._task.cancel()
        task = self._task = asyncio.get_running_loop().create_task(self._listen())
        watch(
            task,
            "listening to the supervisor",
            self._session.broke,
            lambda: task is self._task and not self._closing,
        )

    async def close(self) -> None:
        """Listen no more, but let answers go that are on their way."""
        self._closing = True
        if self._busy:
            await asyncio.wait(set(self._busy), timeout=LAST_ANSWERS_SECONDS)
        tasks = [*self._busy, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                async for message in self._lines():
                    delay = FIRST_DELAY
                    self._obey(message)
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                pass
            except (ValueError, LookupError, asyncio.LimitOverrunError) as error:
                self._session.agent.logger.error("the control stream makes no sense: %r", error)
            except _SessionLost:
                self._link.lost()
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_DELAY)

    async def _lines(self) -> AsyncIterator[dict[str, Any]]:
        reader, writer = await self._link.open_stream(
            f"/v1/control?session={self._link.session}", 2 * MAX_LINE_BYTES
        )
        try:
            patience = MISSED_HEARTBEATS * self._heartbeat
            async with timeout(patience):
                head = await reader.readuntil(b"\r\n\r\n")
            status = head.split(b" ", 2)[1]
            if status == b"409":
                raise _SessionLost
            if status != b"200":
                raise ConnectionError(f"control was answered {status.decode()}")
            buffer = b""
            while True:
                async with timeout(patience):
                    size_line = await reader.readuntil(b"\r\n")
                size = int(size_line.split(b";")[0], 16)
                if size == 0 or size > MAX_LINE_BYTES:
                    return
                buffer += (await reader.readexactly(size + 2))[:-2]
                *lines, buffer = buffer.split(b"\n")
                if len(buffer) > MAX_LINE_BYTES:
                    raise ValueError("a control line does not end")
                for line in filter(None, map(bytes.strip, lines)):
                    message = json.loads(line)
                    if isinstance(message, dict):
                        yield message
        finally:
            writer.close()

    def _obey(self, message: dict[str, Any]) -> None:
        identity = message.get("id")
        if identity is None:
            return
        if identity in self._answers:
            # Done already; only the answer got lost.
            answer = self._answers[identity]
            if answer is not None:
                self._spawn(self._send(f"/v1/control/{identity}", answer))
            return
        self._answers[identity] = None
        if len(self._answers) > REMEMBERED_IDS:
            self._answers.popitem(last=False)
        if message.get("kind") == "probe":
            self._spawn(self._probe(message))
        else:
            self._spawn(self._carry_out(message))

    async def _carry_out(self, message: dict[str, Any]) -> None:
        try:
            answer = {"status": await self._follow(message)}
        except Exception as error:
            self._session.agent.logger.exception("%r could not be carried out", message)
            answer = {"status": "failed", "message": f"{type(error).__name__}: {error}"[:500]}
        self._answers[message["id"]] = answer
        await self._send(f"/v1/control/{message['id']}", answer)

    async def _follow(self, message: dict[str, Any]) -> str:
        session = self._session
        kind = message.get("kind")
        if kind == "pause":
            session.worker.pause()
        elif kind == "resume":
            session.worker.resume()
        elif kind == "drain":
            session.worker.drain()
            await session.worker.idle()
        elif kind == "stop":
            session.stop(message.get("timeout_ms"))
        elif kind == "cancel":
            reason = str(message.get("reason") or "cancelled")
            session.worker.cancel(message.get("work"), message.get("attempt"), reason)
        else:
            return "unsupported"
        return "done"

    async def _probe(self, message: dict[str, Any]) -> None:
        agent = self._session.agent
        limit = message.get("timeout_ms", 10_000) / 1000
        lag = agent._pulse.take_lag() if agent._pulse else 0.0
        check = getattr(agent, f"{message.get('probe')}_check", None)
        answer: dict[str, Any] = {"ok": True, "loop_lag_ms": round(lag * 1000, 1)}
        begun = time.monotonic()
        try:
            if check is not None:
                # A little early, so that the answer still arrives within the time.
                async with timeout(limit * 0.9):
                    answer["ok"] = bool(await invoke(check))
        except TIMEOUTS:
            waited = time.monotonic() - begun
            answer.update(ok=False, detail=f"no result within {waited:.1f} s")
        except Exception as error:
            answer.update(ok=False, detail=f"{type(error).__name__}: {error}"[:500])
        await self._send(f"/v1/probe/{message['id']}", answer)

    async def _send(self, path: str, answer: dict[str, Any]) -> None:
        try:
            await self._link.call("POST", path, json.dumps(answer).encode())
        except ProtocolError as error:
            self._session.agent.logger.debug("%s was refused: %s", path, error)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)
        watch(task, "answering the supervisor", self._session.broke, lambda: not self._closing)


class _SessionLost(Exception):
    """The server does not know the session."""
