"""How long `import openclaw` takes, and a process from its start to ready.

`python benches/startup.py [ROUNDS]` prints medians in milliseconds; `python -X importtime -c
"import openclaw"` shows where an import's time goes.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT.parent / "conformance")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def main(rounds: int) -> None:
    empty = [run_code("pass") for _ in range(rounds)]
    bare = [run_code("import openclaw") for _ in range(rounds)]
    names = [run_code("from openclaw import Agent, Schedule, on, Alert") for _ in range(rounds)]
    ready = [asyncio.run(start_to_ready()) for _ in range(rounds)]
    base = statistics.median(empty)
    print(f"python alone                        {base:7.1f} ms")
    print(f"import openclaw                     {statistics.median(bare) - base:7.1f} ms more")
    print(f"from openclaw import Agent, …       {statistics.median(names) - base:7.1f} ms more")
    print(f"process start to ready              {statistics.median(ready):7.1f} ms")
    print(f"process start to ready, best        {min(ready):7.1f} ms")


def run_code(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True)
    return (time.perf_counter() - begun) * 1000


async def start_to_ready() -> float:
    from conformance._agent_process import World

    agent = ROOT.parent / "conformance" / "agent.py"
    os.environ["PYTHONPATH"] = str(ROOT)
    world = World([sys.executable, "-m", "openclaw", "run", str(agent)])
    async with world:
        begun = time.perf_counter()
        await world.ready()
        return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
