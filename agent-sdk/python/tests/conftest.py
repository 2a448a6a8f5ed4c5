from __future__ import annotations

import asyncio
import inspect

import pytest
from openclaw import _work


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests without a harness as well."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj) or "harness" in pyfuncitem.fixturenames:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(autouse=True)
def no_agent_is_current() -> None:
    assert _work.current.get() is None
