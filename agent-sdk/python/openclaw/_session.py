"""One agent's conversation with its supervisor.

hello ──► setup ──► ready ──► working ──► draining ──► teardown ──► gone
                                ▲  │
                                └──┴── the link lost: hello with resume, then as before
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from . import __version__
from ._address import Identity
from ._agent import Agent
from ._control import Control
from ._deadline import TIMEOUTS, timeout
from ._declaration import PROTOCOLS, check_name, hello_body, schedule_of
from ._errors import ConfigError, ProtocolError, ScheduleError, Unsupported, from_problem
from ._execution import invoke
from ._link import SocketLink
from ._pulse import Pulse
from ._work import Scope, current
from ._worker import Worker

METRICS_SECONDS = 1.0
# What is left of the time to stop after work has had its share.
TEARDOWN_SHARE = 0.25
# How long a process that ends anyway tries to say why.
REPORT_SECONDS = 2.0
DEFAULT_STOP_MS = 30_000
DEFAULT_SETUP_MS = 60_000
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIG = 78


class Session:
    """Runs an agent from hello to its exit code."""

    def __init__(
        self,
        agent: Agent,
        identity: Identity,
        link: SocketLink,
        on_hello: Callable[[dict[str, Any]], None],
    ) -> None:
        self._agent = agent
        self._identity = identity
        self._link = link
        self._on_hello = on_hello
        self._worker = Worker(agent, link, self.broke)
        self._control = Control(self, link)
        self._ready = False
        self._limits: dict[str, Any] = {}
        self._answered: asyncio.Event = asyncio.Event()
        self._stop = asyncio.Event()
        self._stop_ms: float | None = None
        self._ended: BaseException | None = None
        link.on_connected = self._hello
        link.on_fatal = self._end
        link.on_broken = self.broke
        link.on_nonsense = lambda error: agent.logger.error("hello was answered with: %r", error)

    @property
    def agent(self) -> Agent:
        """The agent whose session this is."""
        return self._agent

    @property
    def worker(self) -> Worker:
        """What pulls and does the work."""
        return self._worker

    async def run(self) -> int:
        """Live until asked to stop; return the exit code."""
        loop = asyncio.get_running_loop()
        pulse = self._agent._pulse = Pulse(loop)
        current.set(Scope(self._agent, None))
        flusher = loop.create_task(self._flush_metrics())
        try:
            check_name(type(self._agent), self._identity.agent)
            schedule_of(type(self._agent))
            self._link.start()
            await self._first_of(self._answered.wait())
            await self._setup()
            self._worker.start()
            await self._stop.wait()
            await self._leave()
        except _Ended:
            return self._exit_code()
        except (ConfigError, ScheduleError) as error:
            self._agent.logger.error("%s", error)
            return EXIT_CONFIG
        finally:
            flusher.cancel()
            pulse.stop()
            await self._control.close()
            await self._worker.close()
            await self._link.close()
        return self._exit_code()

    def stop(self, timeout_ms: float | None = None) -> None:
        """Drain, tear down and exit, within the time."""
        if self._stop_ms is None or (timeout_ms or self._stop_ms) < self._stop_ms:
            self._stop_ms = timeout_ms or self._limits.get("stop_ms", DEFAULT_STOP_MS)
        self._worker.drain()
        self._stop.set()

    def broke(self, what: str, error: BaseException | None) -> None:
        """Note that a task without which the agent is deaf has ended; the process goes with it."""
        self._agent.logger.critical(
            "%s ended, so the agent exits to be started again", what, exc_info=error
        )
        if self._ended is None:
            self._ended = _Broken(what)
        self._worker.abandon_all()
        self._stop.set()

    async def _hello(self) -> None:
        resume = None
        if self._link.session is not None:
            resume = {"session": self._link.session, "running": self._worker.running()}
        body = hello_body(self._agent, self._identity.instance, resume)
        reply = await self._link.exchange("POST", "/v1/hello", json.dumps(body).encode())
        if reply.status >= 400:
            raise _refusal(reply.status, reply.body)
        answer = json.loads(reply.body)
        self._link.session = answer["session"]
        self._limits = answer.get("limits") or {}
        self._agent._configure(answer)
        self._on_hello(answer)
        self._worker.configure(answer)
        if self._ready:
            ready = await self._link.exchange("POST", "/v1/ready", b"{}")
            if ready.status >= 400:
                raise _refusal(ready.status, ready.body)
        self._control.reconnect((answer.get("heartbeat_ms") or 10_000) / 1000)
        self._answered.set()

    async def _setup(self) -> None:
        limit = self._limits.get("setup_ms", DEFAULT_SETUP_MS) / 1000
        try:
            async with timeout(limit):
                await self._first_of(invoke(self._agent.setup))
        except _Ended:
            raise
        except Exception as error:
            if isinstance(error, TIMEOUTS) and not str(error):
                error = TimeoutError(f"setup() was not done within {limit:g} s")
            await self._report_setup(error)
            self._ended = error
            self._agent.logger.error("setup failed: %s", error, exc_info=error)
            raise _Ended from error
        # Before it is said: a hello that overtakes the answer has to say it too.
        self._ready = True
        try:
            await self._first_of(self._link.call("POST", "/v1/ready", b"{}"))
        except _Ended:
            if self._ended is not None:
                raise

    async def _report_setup(self, error: Exception) -> None:
        fields = {"type": type(error).__name__, "message": str(error)[:2000], "trace": ""}
        body = json.dumps({"ok": False, "error": fields}).encode()
        try:
            async with timeout(REPORT_SECONDS):
                await self._link.call("POST", "/v1/ready", body)
        except (ProtocolError, *TIMEOUTS):
            self._agent.logger.debug("the supervisor could not be told of the failed setup")

    async def _leave(self) -> None:
        if self._ended is not None:
            # Somebody else may be this agent by now: whatever is done here would be done twice.
            return
        total = (self._stop_ms or DEFAULT_STOP_MS) / 1000
        await self._worker.finish(total * (1 - TEARDOWN_SHARE))
        try:
            async with timeout(total * TEARDOWN_SHARE * 0.8):
                await invoke(self._agent.teardown)
        except Exception:
            self._agent.logger.exception("teardown failed")
        try:
            async with timeout(total * TEARDOWN_SHARE * 0.1):
                await self._send_metrics()
        except (ProtocolError, *TIMEOUTS):
            self._agent.logger.debug("the last metrics could not be sent")

    def _end(self, error: BaseException) -> None:
        """Note that the supervisor wants nothing more of this process."""
        if self._ended is None:
            self._ended = error
            self._agent.logger.error("the supervisor refuses this instance: %s", error)
        self._worker.abandon_all()
        self._stop.set()

    async def _first_of(self, waiting: Any) -> Any:
        """Wait for something, or for the end of the session."""
        task = asyncio.ensure_future(waiting)
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise _Ended
        finally:
            task.cancel()
            stop.cancel()

    async def _flush_metrics(self) -> None:
        while True:
            await asyncio.sleep(METRICS_SECONDS)
            try:
                await self._send_metrics()
            except ProtocolError as error:
                self._agent.logger.warning("metrics were refused: %s", error)
            except Exception:
                self._agent.logger.exception("metrics could not be sent")

    async def _send_metrics(self) -> None:
        samples = self._agent.metrics.drain()
        if samples:
            body = json.dumps({"metrics": samples}).encode()
            await self._link.call("POST", "/v1/metrics", body)

    def _exit_code(self) -> int:
        if self._ended is None:
            return EXIT_OK
        # A hello that is refused as it stands is refused again from the next process.
        refused = getattr(self._ended, "code", "") == "bad_request"
        wrong = refused or isinstance(self._ended, (ConfigError, Unsupported))
        return EXIT_CONFIG if wrong else EXIT_FAILED


class _Broken(Exception):
    """A part of this process does not do its work any more."""


class _Ended(Exception):
    """The session is over before it had begun its work."""


def _refusal(status: int, body: bytes) -> ProtocolError:
    try:
        problem = json.loads(body)
    except ValueError:
        problem = {}
    error = from_problem(status, problem if isinstance(problem, dict) else {})
    if isinstance(error, Unsupported):
        spoken = error.detail.get("protocols")
        return Unsupported(
            f"it speaks Agent Protocol {spoken}, this package {__version__} speaks {PROTOCOLS}: "
            "use the package that the supervisor brings along",
            error.code,
            status=status,
            detail=error.detail,
        )
    return error
