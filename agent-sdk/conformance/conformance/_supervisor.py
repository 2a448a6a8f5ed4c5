"""The reference supervisor: the whole protocol for one agent, with faults to order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._http import NO_ANSWER, Answer, HttpServer, Request
from ._patience import within
from ._store import Store, problem

AGENT = "conformance"
TOKEN = "tok_conformance_0123456789"
INSTANCE = "conformance-0-1"
MAX_VALUE_BYTES = 1_000_000
# Routes whose requests change something, and may be repeated when the answer was lost.
WRITES = ("state", "shared", "state:batch", "shared:batch", "events")
HEARTBEAT_SECONDS = 0.2


class Supervisor:
    """Serves one agent and remembers everything it was asked."""

    def __init__(self, path: Path) -> None:
        self._http = HttpServer(path, self._handle, self._control)
        self._changed = asyncio.Condition()
        self.state = Store(MAX_VALUE_BYTES)
        self.shared = Store(MAX_VALUE_BYTES)
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.hellos: list[dict[str, Any]] = []
        self.sessions: set[str] = set()
        self.ready = False
        self.failed_setup: dict[str, Any] | None = None
        self.events: list[dict[str, Any]] = []
        self.metrics: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []
        self.others: dict[str, dict[str, Any]] = {}
        self.dones: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}
        self.max_concurrency = 1
        self.paused = False
        self.drop_dones = 0
        self.drop_polls = 0
        self.drop_writes = 0
        self.lose_readies = 0
        self.rate_limited_writes = 0
        self.refuse_hello: tuple[int, str, dict[str, Any]] | None = None
        self.extra_fields: dict[str, Any] = {}
        self._queue: list[dict[str, Any]] = []
        self._leased: dict[str, dict[str, Any]] = {}
        self._first_answers: dict[str | None, Answer] = {}
        self._settled: dict[tuple[str, int], dict[str, Any]] = {}
        self._lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._in_force: dict[str, dict[str, Any]] = {}
        self._serial = 0
        self._streams = 0

    async def start(self) -> None:
        """Listen on the socket."""
        await self._http.start()

    async def vanish(self) -> None:
        """Be gone, as a supervisor that was killed."""
        self._lines.put_nowait(None)
        await self._http.stop()

    async def come_back(self) -> None:
        """Listen again at the same path, with no session known but all leases kept."""
        self.sessions.clear()
        self.ready = False
        await self._http.start()

    async def wait_for(self, what: str, holds: Callable[[], Any], seconds: float) -> Any:
        """Wait until something holds; the failure names what did not."""

        async def wait() -> Any:
            async with self._changed:
                await self._changed.wait_for(holds)
            return holds()

        try:
            return await within(seconds, wait())
        except TimeoutError:
            raise AssertionError(f"{what}: not within {seconds:g} s") from None

    async def submit(self, kind: str, steps: list[Any], **fields: Any) -> str:
        """Queue work; the conformance agent carries out the steps."""
        work = {
            "work": self._next("w"),
            "attempt": 1,
            "kind": kind,
            "run": self._next("r"),
            "trigger": {"kind": "manual", "payload": {"steps": steps}},
            "deadline": None,
            "timeout_ms": None,
            "lease_ms": 60_000,
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        }
        if kind == "event":
            work["trigger"] = {"kind": "event"}
            work["event"] = {
                "id": self._next("e"),
                "name": "conformance",
                "source": "tester",
                "time": "2026-11-21T04:55:09.123Z",
                "data": {"steps": steps},
            }
        work.update(self.extra_fields)
        work.update(fields)
        self._queue.append(work)
        await self._notify()
        return str(work["work"])

    async def redeliver(self, work: str) -> None:
        """Hand leased work out again, as its next attempt."""
        item = self._leased.pop(work)
        self._queue.append({**item, "attempt": item["attempt"] + 1})
        await self._notify()

    async def done(self, work: str, seconds: float = 10.0) -> dict[str, Any]:
        """Wait for the outcome of work and return what was reported."""

        def reported() -> dict[str, Any] | None:
            return next((d for d in self.dones if d["work"] == work), None)

        found: dict[str, Any] = await self.wait_for(f"done of {work}", reported, seconds)
        return found

    async def say(self, kind: str, **fields: Any) -> str:
        """Send a line on the control stream; return its id."""
        identity = self._next("c")
        line = {"kind": kind, "id": identity, **fields}
        self._in_force[identity] = line
        self.paused = kind in ("pause", "drain", "stop") or (self.paused and kind != "resume")
        self._lines.put_nowait(line)
        await self._notify()
        return identity

    async def answer(self, identity: str, seconds: float = 10.0) -> dict[str, Any]:
        """Wait for the answer to a control line or a probe."""
        holds = self.answers.get
        found: dict[str, Any] = await self.wait_for(
            f"answer to {self._in_force.get(identity, identity)}", lambda: holds(identity), seconds
        )
        return found

    def leased(self) -> list[str]:
        """Return the work that is handed out and not settled."""
        return list(self._leased)

    async def _handle(self, request: Request) -> Answer:
        self.requests.append(request)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            self.violations.append(f"{request.method} {request.path} without the token")
            return problem(401, "unauthorized")
        if request.path == "/v1/ready" and self.lose_readies:
            # As if it had been killed, and another was there, since it answered hello.
            self.lose_readies -= 1
            self.sessions.clear()
        if request.path != "/v1/hello":
            session = request.headers.get("openclaw-session")
            if session is not None and session not in self.sessions:
                return problem(409, "session_lost")
        try:
            answer = await self._once(request)
        except (ValueError, KeyError, TypeError) as error:
            self.violations.append(f"{request.method} {request.path}: {error!r}")
            answer = problem(400, "bad_request", repr(error))
        await self._notify()
        if self.drop_writes and request.method != "GET" and request.parts[1] in WRITES:
            self.drop_writes -= 1
            return NO_ANSWER
        return answer

    async def _once(self, request: Request) -> Answer:
        """Answer a request that comes again with its first answer, and change nothing."""
        key = request.headers.get("idempotency-key")
        if key in self._first_answers:
            return self._first_answers[key]
        answer = await self._route(request)
        if key is not None and answer.status < 400:
            self._first_answers[key] = answer
        return answer

    async def _route(self, request: Request) -> Answer:
        method, parts = request.method, request.parts
        if parts[:1] != ["v1"]:
            return problem(404, "not_found")
        match (method, *parts[1:]):
            case ("POST", "hello"):
                return self._hello(request.json())
            case ("POST", "ready"):
                body = request.json()
                self.ready = body.get("ok", True)
                self.failed_setup = body.get("error")
                return Answer(204)
            case ("POST", "status" | "logs"):
                return Answer(204)
            case ("GET", "work"):
                return await self._work(request)
            case ("POST", "work", work, "done"):
                return self._done(work, request.json())
            case ("POST", "probe" | "control", identity):
                self.answers[identity] = request.json()
                self._in_force.pop(identity, None)
                return Answer(204)
            case (_, "state" | "shared" as space, key):
                return self._keyed(space, request, key)
            case ("GET", "state" | "shared" as space):
                return self._space(space).listing(request)
            case ("POST", "events"):
                event = request.json()
                identity = event.get("id") or self._next("e")
                known = identity in [known.get("id") for known in self.events]
                self.events += [] if known else [event]
                return Answer.of({"id": identity, "duplicate": known})
            case ("POST", "state:batch" | "shared:batch" as route):
                return self._batch(self._space(route.partition(":")[0]), request.json())
            case ("GET", "agents", name, "state"):
                others = self.others.get(name, {})
                return Answer.of({"agent": name, "version": len(others), "state": others})
            case ("POST", "metrics"):
                self.metrics += request.json()["metrics"]
                return Answer(204)
            case ("POST", "alerts"):
                self.alerts.append(request.json())
                return Answer.of({"id": "al_1", "sent": [], "duplicate": False})
        return problem(404, "not_found", f"no route {method} {request.path}")

    def _hello(self, body: dict[str, Any]) -> Answer:
        if 1 not in body["protocols"]:
            return problem(400, "unsupported", protocols=[1])
        if body.get("instance") not in (None, INSTANCE):
            return problem(403, "forbidden")
        self.hellos.append(body)
        if self.refuse_hello is not None:
            status, code, detail = self.refuse_hello
            return problem(status, code, "refused as a test wants it", **detail)
        session = self._next("s")
        self.sessions.add(session)
        kept = []
        resume = body.get("resume")
        listed = [item["work"] for item in (resume or {}).get("running", [])]
        for work in [work for work in self._leased if work not in listed]:
            # Handed out, but the client has never seen it.
            item = self._leased.pop(work)
            self._queue.append({**item, "attempt": item["attempt"] + 1})
        for item in (resume or {}).get("running", []):
            if item["work"] in self._leased:
                kept.append({**item, "lease_ms": 60_000})
        answer = {
            "protocol": 1,
            "session": session,
            "agent": AGENT,
            "replica": 0,
            "replicas": 1,
            "heartbeat_ms": round(HEARTBEAT_SECONDS * 1000),
            "max_concurrency": self.max_concurrency,
            "phase": "initializing",
            "config": {"greeting": "hello"},
            "secrets": [],
            "notifiers": [],
            "limits": {"setup_ms": 10_000, "stop_ms": 5000, "wait_s": 30},
            "log_level": "info",
            "capabilities": ["shared"],
            "continue": kept,
            "abandon": [
                i for i in (resume or {}).get("running", []) if i["work"] not in self._leased
            ],
            **self.extra_fields,
        }
        return Answer.of(answer)

    async def _work(self, request: Request) -> Answer:
        def free() -> bool:
            return bool(self._queue) and self.ready and not self.paused

        async with self._changed:
            seconds = min(float(request.query.get("wait", "0")), 30)
            try:
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: free() or self.paused), seconds
                )
            except (asyncio.TimeoutError, TimeoutError):
                return Answer(204)
        if not free():
            # A client that asks again at once while it is paused is not made to spin.
            await asyncio.sleep(0.02)
            return Answer(204)
        room = min(int(request.query.get("max", "1")), self.max_concurrency - len(self._leased))
        items, self._queue = self._queue[: max(room, 0)], self._queue[max(room, 0) :]
        self._leased.update({item["work"]: item for item in items})
        if items and self.drop_polls:
            self.drop_polls -= 1
            return NO_ANSWER
        return Answer.of(items) if items else Answer(204)

    def _done(self, work: str, body: dict[str, Any]) -> Answer:
        attempt = body["attempt"]
        if (work, attempt) in self._settled:
            return Answer.of({**self._settled[work, attempt], "duplicate": True})
        item = self._leased.get(work)
        if item is None or item["attempt"] != attempt:
            return problem(409, "lease_lost")
        if not body["ok"] and (body.get("state") or body.get("events")):
            raise ValueError("a failed attempt reports state or events")
        for space in ("state", "shared"):
            refusal = self._space(space).refusal(body.get(space) or [])
            if refusal is not None:
                return refusal
        for space in ("state", "shared"):
            self._space(space).apply(body.get(space) or [])
        self.events += body.get("events") or []
        self.metrics += body.get("metrics") or []
        self.dones.append({"work": work, **body})
        del self._leased[work]
        ids = [event.get("id") for event in body.get("events") or []]
        answer = {"version": self.state.version, "events": ids, "duplicate": False}
        self._settled[work, attempt] = answer
        if self.drop_dones:
            self.drop_dones -= 1
            return NO_ANSWER
        return Answer.of(answer)

    def _batch(self, store: Store, body: dict[str, Any]) -> Answer:
        refusal = store.refusal(body.get("state") or [])
        if refusal is not None:
            return refusal
        store.apply(body.get("state") or [])
        self.events += body.get("events") or []
        return Answer.of({"version": store.version, "results": [], "events": []})

    def _keyed(self, space: str, request: Request, key: str) -> Answer:
        if request.method != "GET" and self.rate_limited_writes:
            self.rate_limited_writes -= 1
            return problem(429, "rate_limited", retryable=True, retry_after_ms=150)
        return self._space(space).serve(request, key)

    async def _control(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.requests.append(request)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            self.violations.append("GET /v1/control without the token")
            return
        if request.query.get("session") not in self.sessions:
            writer.write(b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
            return
        self._streams += 1
        mine = self._streams
        lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._lines = lines
        for repeated in self._in_force.values():
            lines.put_nowait(repeated)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        line: dict[str, Any] | None
        while mine == self._streams:
            try:
                line = await asyncio.wait_for(lines.get(), HEARTBEAT_SECONDS)
            except (asyncio.TimeoutError, TimeoutError):
                line = {"kind": "ping", "at": "2026-11-21T04:55:09.123Z"}
            if line is None:
                return
            text = json.dumps(line).encode() + b"\n"
            writer.write(b"%x\r\n%b\r\n" % (len(text), text))
            await writer.drain()

    def _space(self, name: str) -> Store:
        return self.state if name == "state" else self.shared

    def _next(self, prefix: str) -> str:
        self._serial += 1
        return f"{prefix}_{self._serial}"

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
