"""The routes of the protocol, answered from memory: the link of an agent in a harness."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from .._errors import ProtocolError, from_problem
from .._event import Alert
from .._wire import Reply
from ._bus import Bus, tagged
from ._memory import Memory


class MemoryLink:
    """Carries one agent's requests to the bus, until the agent has crashed."""

    def __init__(self, bus: Bus, agent: str, grants: frozenset[str]) -> None:
        self._bus = bus
        self._agent = agent
        self._grants = grants
        self.dead: BaseException | None = None

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Answer a request."""
        return self._serve(method, path, body or b"", headers or {})

    def call_blocking(self, path: str) -> Reply:
        """Answer a GET."""
        return self._serve("GET", path, b"", {})

    def _serve(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        if self.dead is not None:
            raise self.dead
        plain, _, query = path.partition("?")
        parts = [unquote(part) for part in plain.split("/")[2:]]
        fields = dict(parse_qsl(query, keep_blank_values=True))
        if parts[0] in ("state", "shared", "state:batch", "shared:batch"):
            return self._space(method, parts, fields, body, headers)
        if parts[0] == "agents":
            return self._other_state(parts)
        if parts[0] == "fleet":
            return self._fleet(method, parts, body)
        if parts[0] == "sandboxes":
            self._demand(f"sandbox:{parts[1]}")
            return _reply(self._bus.sandboxes.run(parts[1], json.loads(body)))
        return self._post(parts[0], json.loads(body))

    def _space(
        self,
        method: str,
        parts: list[str],
        query: dict[str, str],
        body: bytes,
        headers: Mapping[str, str],
    ) -> Reply:
        name, _, batch = parts[0].partition(":")
        if name == "shared":
            self._demand("shared")
        memory = self._bus.shared if name == "shared" else self._bus.memory_of(self._agent)
        if batch:
            return self._batch(memory, json.loads(body))
        if len(parts) == 1:
            return _listing(memory, query)
        if method == "GET":
            return _value(memory, parts[1])
        op: dict[str, Any] = {"op": "delete", "key": parts[1]}
        if method == "PUT":
            op.update(op="set", text=body, ttl_ms=_number(query.get("ttl_ms")))
        if "If-Match" in headers:
            op["if_version"] = int(headers["If-Match"].strip('"'))
        if "If-None-Match" in headers:
            op["if_version"] = 0
        memory.commit([op])
        return _reply({"version": memory.version})

    def _batch(self, memory: Memory, body: dict[str, Any]) -> Reply:
        memory.commit(tagged(body.get("state") or []))
        ids = [self._bus.publish(self._agent, event)[0] for event in body.get("events") or []]
        return _reply({"version": memory.version, "results": [], "events": ids})

    def _other_state(self, parts: list[str]) -> Reply:
        self._demand("read_from")
        memory = self._bus.memories.get(parts[1])
        values = {}
        for key in memory.names() if memory else []:
            kept = memory.find(key) if memory else None
            values[key] = json.loads(kept.text) if kept else None
        version = memory.version if memory else 0
        return _reply({"agent": parts[1], "version": version, "state": values})

    def _fleet(self, method: str, parts: list[str], body: bytes) -> Reply:
        self._demand("fleet")
        bus = self._bus
        if method == "POST":
            payload = json.loads(body).get("payload")
            return _reply(bus.fleet(parts[1], parts[2], self._agent, payload))
        listed = [bus.agent_object(mailbox) for mailbox in bus.mailboxes.values()]
        if len(parts) == 1:
            return _reply({"agents": listed})
        found = [entry for entry in listed if entry["name"] == parts[1]]
        if not found:
            raise _problem(404, "not_found", f"no agent {parts[1]}")
        return _reply(found[0])

    def _post(self, route: str, body: dict[str, Any]) -> Reply:
        bus = self._bus
        if route == "events":
            identity, duplicate = bus.publish(self._agent, body)
            return _reply({"id": identity, "duplicate": duplicate})
        if route == "alerts":
            fields = ("title", "severity", "details", "dedup_key")
            alert = Alert(**{field: body[field] for field in fields})
            known = {sent.dedup_key for sent in bus.alerts}
            if alert.dedup_key is None or alert.dedup_key not in known:
                bus.alerts.append(alert)
        elif route == "notify":
            bus.notices.append((body["to"], body["text"]))
        elif route == "metrics":
            bus.metrics_of(self._agent).take(body["metrics"])
        elif route == "status":
            bus.statuses.append((self._agent, body["status"], body.get("progress")))
        else:
            raise _problem(404, "not_found", f"no route {route}")
        return _reply({})

    def _demand(self, right: str) -> None:
        if right not in self._grants:
            raise _problem(403, "forbidden", f"{self._agent} has no right to {right}")


def _value(memory: Memory, key: str) -> Reply:
    kept = memory.find(key)
    if kept is None:
        raise _problem(404, "unknown_key", f"no key {key}")
    return Reply(200, "OK", {"etag": f'"{kept.version}"'}, kept.text)


def _listing(memory: Memory, query: dict[str, str]) -> Reply:
    keys = []
    for key in memory.names():
        kept = memory.find(key)
        if kept and key.startswith(query.get("prefix", "")):
            entry = {"key": key, "version": kept.version, "bytes": len(kept.text)}
            if query.get("values") == "true":
                entry["value"] = json.loads(kept.text)
            keys.append(entry)
    return _reply({"version": memory.version, "keys": keys, "next": None})


def _reply(value: Any) -> Reply:
    return Reply(200, "OK", {}, json.dumps(value).encode())


def _problem(status: int, code: str, message: str) -> ProtocolError:
    return from_problem(status, {"code": code, "message": message})


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
