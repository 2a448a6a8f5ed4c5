"""The supervisor vanishes again and again; every event counts once."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from conformance._agent_process import World

ROOT = Path(__file__).parents[1]
AGENT = ROOT.parent / "conformance" / "agent.py"
EVENTS = int(os.environ.get("OPENCLAW_SURVIVAL_EVENTS", "150"))


async def test_events_count_once_while_the_supervisor_keeps_vanishing() -> None:
    chance = random.Random(7)
    world = World(
        ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "openclaw", "run", str(AGENT)]
    )
    world.supervisor.max_concurrency = 4
    async with world:
        supervisor = await world.ready()
        steps = [
            {"op": "add", "key": "count", "by": 1},
            {"op": "emit", "name": "counted", "data": 1},
            {"op": "sleep", "ms": 2},
        ]
        works = {await supervisor.submit("event", steps) for _ in range(EVENTS)}

        def settled() -> bool:
            return {done["work"] for done in supervisor.dones if done["ok"]} >= works

        vanished = 0
        while not settled():
            if chance.random() < 0.3:
                supervisor.drop_dones = chance.randrange(3)
                supervisor.drop_polls = chance.randrange(2)
            await asyncio.sleep(chance.uniform(0.01, 0.15))
            # A version conflict fails an attempt, and what failed is delivered again.
            for done in [d for d in supervisor.dones if not d["ok"]]:
                supervisor.dones.remove(done)
                assert done["error"]["type"] == "version_conflict"
                again = done["attempt"] + 1
                await supervisor.submit("event", steps, work=done["work"], attempt=again)
            if vanished < 20 and chance.random() < 0.5:
                vanished += 1
                await supervisor.vanish()
                await asyncio.sleep(chance.uniform(0, 0.1))
                await supervisor.come_back()
    assert supervisor.state.value("count") == EVENTS
    assert len(supervisor.events) == EVENTS
    assert supervisor.violations == []
