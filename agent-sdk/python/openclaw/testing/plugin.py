"""Gives pytest the fixture `harness`, and runs coroutine tests that use it.

Found by pytest when the package is installed; else `pytest_plugins = ["openclaw.testing.plugin"]`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ._harness import Harness


@pytest.fixture
def harness() -> Iterator[Callable[..., Harness]]:
    """Return what makes harnesses; call it with agent classes and a config."""
    made: list[Harness] = []

    def make(*classes: Any, **options: Any) -> Harness:
        made.append(Harness(*classes, **options))
        return made[-1]

    yield make
    strangers = [f"{r.method} {r.url}" for h in made for r in h.http.unmatched]
    assert not strangers, f"requests without a route: {', '.join(strangers)}"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test that uses `harness`, unless another plugin was asked to."""
    marked = any(pyfuncitem.get_closest_marker(name) for name in ("asyncio", "anyio", "trio"))
    uses = "harness" in pyfuncitem.fixturenames
    if marked or not uses or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
