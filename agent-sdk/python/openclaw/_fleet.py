"""Control over other agents, for those the fleet file grants it to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ._identifiers import generate_id

if TYPE_CHECKING:
    from ._link import Link


class Fleet:
    """Other agents of the fleet; `Forbidden` without the right, `Refused` with the reason."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def agents(self) -> list[dict[str, Any]]:
        """Return every agent with phase, readiness, reason, restarts."""
        reply = await self._link.call("GET", "/v1/fleet")
        listed: list[dict[str, Any]] = json.loads(reply.body)["agents"]
        return listed

    async def agent(self, name: str) -> dict[str, Any]:
        """Return one agent."""
        reply = await self._link.call("GET", f"/v1/fleet/{quote(name, safe='')}")
        found: dict[str, Any] = json.loads(reply.body)
        return found

    async def start(self, name: str, reason: str = "") -> dict[str, Any]:
        """Start an agent."""
        return await self._change(name, "start", {"reason": reason})

    async def stop(self, name: str, reason: str = "") -> dict[str, Any]:
        """Stop an agent."""
        return await self._change(name, "stop", {"reason": reason})

    async def restart(self, name: str, reason: str = "") -> dict[str, Any]:
        """Stop an agent and start it again."""
        return await self._change(name, "restart", {"reason": reason})

    async def pause(self, name: str, reason: str = "") -> dict[str, Any]:
        """Give an agent no new work."""
        return await self._change(name, "pause", {"reason": reason})

    async def resume(self, name: str, reason: str = "") -> dict[str, Any]:
        """Give an agent work again."""
        return await self._change(name, "resume", {"reason": reason})

    async def trigger(self, name: str, payload: Any = None) -> str:
        """Start a run of an agent; return the run's id."""
        answer = await self._change(name, "trigger", {"payload": payload})
        return str(answer.get("run", ""))

    async def _change(self, name: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        path = f"/v1/fleet/{quote(name, safe='')}/{verb}"
        headers = {"Idempotency-Key": generate_id()}
        reply = await self._link.call("POST", path, json.dumps(body).encode(), headers)
        answer: dict[str, Any] = json.loads(reply.body)
        return answer
