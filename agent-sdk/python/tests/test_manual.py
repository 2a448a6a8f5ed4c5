"""The manual's programs are run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

MANUAL = Path(__file__).parents[3] / "docs" / "python-sdk.md"


async def test_the_first_agent_and_its_test_work_as_printed(harness: Any) -> None:
    blocks = re.findall(r"```python\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(blocks[0], names)
    printed = blocks[-1].replace("from hello import Hello\n", "")
    exec(printed, names)
    await names["test_it_counts"](harness)
    assert len(blocks[0].splitlines()) <= 13


async def test_the_examples_of_the_manual_are_python() -> None:
    for block in re.findall(r"```python\n(.*?)```", MANUAL.read_text(), re.DOTALL):
        body = "".join(f"    {line}\n" for line in block.splitlines())
        compile(f"async def block():\n{body.replace('…', '...')}", "manual", "exec")
