"""The manual's programs are run as they are printed."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import openclaw
import pytest
from openclaw import Agent
from openclaw._handlers import handlers_of

MANUAL = Path(__file__).parents[3] / "docs" / "python-sdk.md"
BLOCKS = re.findall(r"```python\n(.*?)```", MANUAL.read_text(), re.DOTALL)
TESTS = [block for block in BLOCKS if "def test_" in block]
CLASSES = [block for block in BLOCKS if re.search(r"^class ", block, re.MULTILINE)]
METHODS = [block for block in BLOCKS if block.startswith("@on")]
LINES = [block for block in BLOCKS if block not in (*TESTS, *CLASSES, *METHODS)]
NAMES = {name: getattr(openclaw, name) for name in openclaw.__all__}


def printed(block: str, **names: Any) -> dict[str, Any]:
    space = {**NAMES, **names}
    exec(block.replace("from hello import Hello\n", ""), space)
    return space


def agents(space: dict[str, Any]) -> list[Any]:
    return [v for v in space.values() if isinstance(v, type) and Agent in v.__bases__]


async def test_the_first_agent_has_twelve_lines_and_its_tests_pass_as_printed(harness: Any) -> None:
    assert BLOCKS[0].startswith("# agents/hello.py\n")
    code = [line for line in BLOCKS[0].splitlines()[1:] if line]
    assert len(code) <= 12
    names = printed(BLOCKS[0])
    assert len(TESTS) >= 2
    for block in TESTS:
        space = printed(block, Hello=names["Hello"])
        [test] = [v for k, v in space.items() if k.startswith("test_")]
        await test(harness)


@pytest.mark.parametrize("block", CLASSES[1:])
async def test_the_agents_of_the_manual_run(harness: Any, block: str) -> None:
    for cls in agents(printed(block)):
        await harness(cls).run({"a": "payload"})


@pytest.mark.parametrize("block", METHODS)
async def test_the_handlers_of_the_manual_take_their_events(harness: Any, block: str) -> None:
    space = printed(f"class Handling(Agent):\n{textwrap.indent(block, '    ')}")
    h = harness(space["Handling"])
    [handler] = handlers_of(space["Handling"])
    event = handler.subscriptions[0].event
    await h.deliver(event, {"items": [1, 2]})
    answers = re.findall(r'emit\("(\w+)"', block)
    assert answers
    assert [event.name for event in h.emitted] == [event, *answers]


class Worker(Agent):
    """Stands for the agents that the manual's lines speak of."""


class Producer(Agent):
    """As above."""


@pytest.mark.parametrize("block", LINES)
async def test_the_lines_of_the_manual_work_in_a_run(harness: Any, block: str) -> None:
    body = textwrap.indent(block, "        ")
    source = f"class Lines(Agent):\n    async def run(self):\n{body}"
    space = printed(source, item_id="i1", token="t1", code="print(6)")
    grants = ["fleet", "shared", "read_from"]
    h = harness(space["Lines"], Worker, Producer, grants=grants, sandboxes=["tools"])
    h.sandboxes.on("tools", stdout="6\n")
    h.llm.when("…", '{"n": 1}', cost_usd=0.01)
    await h.run()
    assert h.failures == []


def test_every_block_of_the_manual_is_run() -> None:
    assert len(BLOCKS) == len(TESTS) + len(CLASSES) + len(METHODS) + len(LINES)
    assert (len(TESTS), len(CLASSES), len(METHODS), len(LINES)) == (2, 2, 2, 6)
