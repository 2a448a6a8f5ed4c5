"""`python -m openclaw run file.py`: an agent's process."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from typing import Any

from . import _logging
from ._address import Address, Identity
from ._agent import Agent, name_of
from ._errors import ConfigError, SourceError
from ._execution import threads_busy
from ._link import SocketLink
from ._session import EXIT_CONFIG, EXIT_FAILED, Session
from ._source import load


def run(source: str) -> int:
    """Run the agent of a file until it is asked to stop; return the exit code."""
    identity = Identity.from_environment()
    formatter = _logging.JsonLines(identity.agent, identity.instance)
    _logging.install(formatter)
    try:
        address = Address.from_environment(os.environ)
        cls = load(source, identity.agent)
    except (ConfigError, SourceError) as error:
        print(f"openclaw: {error}", file=sys.stderr)
        return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED
    # What imports have made stays for good; collecting it again and again costs time.
    gc.freeze()
    return asyncio.run(_live(cls, identity, address, formatter))


def _leave_threads(code: int) -> None:
    """End the process although an author's thread goes on; Python itself would wait for it."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _live(
    cls: type[Agent], identity: Identity, address: Address, formatter: _logging.JsonLines
) -> int:
    loop = asyncio.get_running_loop()
    link = SocketLink(address, identity)
    agent = cls()
    agent._bind(link, loop, name=identity.agent or name_of(cls))

    def configured(answer: dict[str, Any]) -> None:
        formatter.secrets = agent.config.secret_values()
        _logging.set_level(answer.get("log_level") or "info")

    session = Session(agent, identity, link, configured)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, session.stop)
    code = await session.run()
    if threads_busy():
        _leave_threads(code)
    return code
