"""The agent every SDK has to provide for the conformance scenarios, here with the Python SDK.

It carries out the steps it is given, one after the other, and returns their results as a list.
"""

import asyncio
import time
from typing import Any

from openclaw import Agent, Event, ProtocolError, on

HOLD_SECONDS = 0.02


class Conformance(Agent):
    """Does what a scenario says."""

    async def run(self) -> list[Any]:
        """Carry out the steps of the trigger's payload."""
        return await self.carry_out((self.trigger.payload or {}).get("steps", []))

    @on("conformance")
    async def on_conformance(self, event: Event) -> None:
        """Carry out the steps of the event's data."""
        await self.carry_out(event.data["steps"])

    async def teardown(self) -> None:
        """Leave a trace of having been called."""
        await self.state.set("torn_down", True)

    async def on_error(self, exc: Exception) -> None:
        """Say nothing; failures here are on purpose."""

    async def carry_out(self, steps: list[dict[str, Any]]) -> list[Any]:
        """Return the result of each step; `catch` turns an error into its code."""
        results = []
        for step in steps:
            try:
                results.append(await self.one(step))
            except ProtocolError as error:
                if not step.get("catch"):
                    raise
                results.append(error.code)
        return results

    async def one(self, step: dict[str, Any]) -> Any:
        """Carry out one step."""
        key = step.get("key", "")
        match step["op"]:
            case "set":
                await self.state.set(key, step["value"], if_version=step.get("if_version"))
            case "get":
                return await self.state.get(key)
            case "copy":
                await self.state.set(step["to"], await self.state.get(step["from"]))
            case "fill":
                await self.state.set(key, "x" * step["bytes"])
            case "add":
                await self.state.update(key, lambda value: self.add(value, step), 0)
            case "emit":
                await self.emit(step["name"], step["data"])
            case "hold":
                while not await self.state.get(key):
                    await asyncio.sleep(HOLD_SECONDS)
            case "sleep":
                await asyncio.sleep(step["ms"] / 1000)
            case "block":
                time.sleep(step["ms"] / 1000)
            case "fail":
                raise RuntimeError(step["message"])
        return None

    async def add(self, value: int, step: dict[str, Any]) -> int:
        """Add to a value, after a hold if the scenario wants somebody to come between."""
        while "hold" in step and not await self.state.get(step["hold"]):
            await asyncio.sleep(HOLD_SECONDS)
        return value + int(step["by"])
