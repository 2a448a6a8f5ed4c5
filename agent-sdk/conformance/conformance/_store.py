"""State of the reference server: values as the bytes they came as."""

from __future__ import annotations

import json
from typing import Any

from ._http import Answer, Request


def problem(status: int, code: str, message: str = "", **fields: Any) -> Answer:
    """Make an error answer of the protocol."""
    body = {
        "code": code,
        "message": message or code,
        "retryable": fields.pop("retryable", False),
        "retry_after_ms": fields.pop("retry_after_ms", None),
        "detail": fields,
        "request_id": "rq_1",
    }
    return Answer.of(body, status)


class Store:
    """One map of keys to values with versions."""

    def __init__(self, max_value_bytes: int) -> None:
        self.version = 0
        self.values: dict[str, tuple[bytes, int]] = {}
        self._max_value_bytes = max_value_bytes

    def value(self, key: str) -> Any:
        """Return a value parsed, None if the key does not exist."""
        found = self.values.get(key)
        return None if found is None else json.loads(found[0])

    def put(self, key: str, value: bytes) -> int:
        """Store a value."""
        self.version += 1
        self.values[key] = (value, self.version)
        return self.version

    def serve(self, request: Request, key: str) -> Answer:
        """Answer GET, PUT and DELETE of one key."""
        found = self.values.get(key)
        if request.method == "GET":
            if found is None:
                return problem(404, "unknown_key", f"no key {key}")
            return Answer(200, found[0], {"ETag": f'"{found[1]}"'})
        refusal = self._precondition(request, key)
        if refusal is not None:
            return refusal
        if request.method == "DELETE":
            if found is not None:
                self.version += 1
                del self.values[key]
            return Answer.of({"version": self.version, "deleted": found is not None})
        json.loads(request.body)
        if len(request.body) > self._max_value_bytes:
            return problem(413, "state_too_large", f"{key} is too large")
        version = self.put(key, request.body)
        return Answer(200, b'{"version": %d}' % version, {"ETag": f'"{version}"'})

    def listing(self, request: Request) -> Answer:
        """Answer the list of keys."""
        prefix = request.query.get("prefix", "")
        keys = [
            {"key": key, "version": version, "bytes": len(value), "ttl_ms": None}
            | ({"value": json.loads(value)} if request.query.get("values") == "true" else {})
            for key, (value, version) in sorted(self.values.items())
            if key.startswith(prefix)
        ]
        return Answer.of({"version": self.version, "keys": keys, "next": None})

    def refusal(self, ops: list[dict[str, Any]]) -> Answer | None:
        """Return why operations are not carried out: a condition, or a value's size."""
        for op in ops:
            wanted, found = op.get("if_version"), self.values.get(op["key"])
            if wanted is not None and wanted != (found[1] if found else 0):
                return problem(412, "version_conflict", key=op["key"])
            if len(json.dumps(op.get("value"))) > self._max_value_bytes:
                return problem(413, "state_too_large", f"{op['key']} is too large")
        return None

    def apply(self, ops: list[dict[str, Any]]) -> None:
        """Carry out operations that have been checked."""
        if ops:
            self.version += 1
        for op in ops:
            if op["op"] == "set":
                text = json.dumps(op["value"], ensure_ascii=False, separators=(",", ":"))
                self.values[op["key"]] = (text.encode(), self.version)
            elif op["op"] == "delete":
                self.values.pop(op["key"], None)

    def _precondition(self, request: Request, key: str) -> Answer | None:
        found = self.values.get(key)
        version = found[1] if found else 0
        match = request.headers.get("if-match")
        if match is not None and match.strip('"') != str(version):
            return problem(412, "version_conflict", key=key, version=version)
        if request.headers.get("if-none-match") == "*" and found is not None:
            return problem(412, "version_conflict", key=key, version=version)
        return None
