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
            await world.assert_lives()
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


ROUNDS = 200
EVERYTHING = """
from openclaw import Agent

class Everything(Agent):
    async def run(self):
        for n in range(ROUNDS):
            await self.state.update("count", lambda count: count + 1, 0)
            async with self.state.transaction() as tx:
                tx.set("seen", await tx.get("seen", set()) | {n})
                tx.emit("grouped", n)
            await self.shared_state.set("last", n)
            await self.emit("plain", n)
            assert self.state.read_from("other").get("k") == 1
            await self.state.set("gone", n)
            await self.state.delete("gone")
            self.metrics.counter("rounds")
        return sorted(await self.state.keys())
"""


async def test_all_that_a_run_calls_counts_once_while_the_supervisor_keeps_vanishing(
    tmp_path: Path,
) -> None:
    chance = random.Random(11)
    path = tmp_path / "everything.py"
    path.write_text(EVERYTHING.replace("ROUNDS", str(ROUNDS)))
    world = World(["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "openclaw", "run", str(path)])
    supervisor = world.supervisor
    supervisor.others = {"other": {"k": 1}}
    async with world:
        await world.ready()
        work = await supervisor.submit("run", [])
        while not supervisor.dones:
            await world.assert_lives()
            supervisor.drop_writes = chance.randrange(3)
            await asyncio.sleep(chance.uniform(0.005, 0.05))
            await supervisor.vanish()
            await asyncio.sleep(chance.uniform(0, 0.05))
            await supervisor.come_back()
            await asyncio.sleep(chance.uniform(0.02, 0.1))
        done = await supervisor.done(work)
    assert (done.get("error"), done.get("result")) == (None, ["count", "seen"])
    assert supervisor.state.value("count") == ROUNDS
    assert sorted(supervisor.state.value("seen")["$set"]) == list(range(ROUNDS))
    for name in ("grouped", "plain"):
        said = [event["data"] for event in supervisor.events if event["name"] == name]
        assert said == list(range(ROUNDS))
    assert supervisor.shared.value("last") == ROUNDS - 1
    assert [sample["value"] for sample in done["metrics"]] == [1] * ROUNDS
    assert supervisor.violations == []
