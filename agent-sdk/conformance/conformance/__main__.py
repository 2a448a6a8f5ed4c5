"""`python3 -m conformance [--only NAME] -- COMMAND…`: exit code 0 when every scenario passes."""

from __future__ import annotations

import asyncio
import sys

from ._agent_process import World
from ._patience import within
from ._scenarios import SCENARIOS, Scenario

SCENARIO_SECONDS = 60.0
SHOWN_OUTPUT_BYTES = 4000


def main(arguments: list[str]) -> int:
    """Run the scenarios against a command."""
    if "--" not in arguments:
        print("usage: python3 -m conformance [--only NAME]… -- COMMAND…", file=sys.stderr)
        return 2
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1 :]
    wanted = [
        name for flag, name in zip(options[::2], options[1::2], strict=False) if flag == "--only"
    ]
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown or not command or len(wanted) * 2 != len(options):
        print(f"no scenario {unknown}" if unknown else "no command", file=sys.stderr)
        return 2
    failed = [name for name in wanted or SCENARIOS if not run_scenario(name, command)]
    total = len(wanted or SCENARIOS)
    print(f"{total - len(failed)} of {total} scenarios pass")
    return 1 if failed else 0


def run_scenario(name: str, command: list[str]) -> bool:
    """Run one scenario and print how it went."""
    failure, output = asyncio.run(_bounded(SCENARIOS[name], command))
    sentence = name.replace("_", " ")
    if failure is None:
        print(f"ok    {sentence}", flush=True)
        return True
    print(f"FAIL  {sentence}\n      {failure}", flush=True)
    for line in output[-SHOWN_OUTPUT_BYTES:].decode("utf-8", "replace").splitlines():
        print(f"      | {line}", flush=True)
    return False


async def _bounded(check: Scenario, command: list[str]) -> tuple[str | None, bytes]:
    world = World(command)
    failure = None
    async with world:
        try:
            await within(SCENARIO_SECONDS, check(world))
        except AssertionError as error:
            failure = f"broken: {error}"
        except TimeoutError:
            failure = f"not over within {SCENARIO_SECONDS:g} s"
    if failure is None and world.supervisor.violations:
        failure = f"broken: {world.supervisor.violations[0]}"
    return failure, world.output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
