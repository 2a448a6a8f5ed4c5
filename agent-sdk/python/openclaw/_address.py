"""Where the supervisor is, and who this process is to it: the environment, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from ._errors import ConfigError


class Address(NamedTuple):
    """A Unix socket, or a host and port where sockets cannot be had."""

    path: str | None
    host: str
    port: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Address:
        """Read `OPENCLAW_SOCK`, else `OPENCLAW_API`."""
        if path := environ.get("OPENCLAW_SOCK"):
            return cls(path, "", 0)
        if url := environ.get("OPENCLAW_API"):
            parts = urlsplit(url)
            if parts.hostname:
                return cls(None, parts.hostname, parts.port or 80)
        raise ConfigError(
            "OPENCLAW_SOCK is not set: an agent is started by the supervisor (`clawctl up`), "
            "or in a test by openclaw.testing.Harness"
        )


class Identity(NamedTuple):
    """Who the supervisor says this process is."""

    agent: str
    instance: str
    replica: int
    replicas: int
    token: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Identity:
        """Read the variables of the protocol."""
        return cls(
            environ.get("OPENCLAW_AGENT", ""),
            environ.get("OPENCLAW_INSTANCE", ""),
            _number(environ.get("OPENCLAW_REPLICA", ""), 0),
            _number(environ.get("OPENCLAW_REPLICAS", ""), 1),
            environ.get("OPENCLAW_TOKEN", ""),
        )


def _number(text: str, default: int) -> int:
    return int(text) if text.isdigit() else default
