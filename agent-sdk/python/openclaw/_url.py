"""URLs, taken apart without changing what the author wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

from ._errors import HttpError

_PORTS = {"http": 80, "https": 443}


class Url(NamedTuple):
    """A URL in the parts a request needs."""

    text: str
    scheme: str
    host: str
    port: int
    netloc: str
    target: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """Take a URL apart; the path and query stay as written but for what HTTP cannot carry."""
        parts = urlsplit(text)
        try:
            port = parts.port
        except ValueError as error:
            raise HttpError(f"{text!r} has no valid port") from error
        if parts.scheme not in _PORTS or not parts.hostname:
            raise HttpError(f"{text!r} is no http or https URL")
        after = text.partition("//")[2]
        netloc_end = min((i for i in map(after.find, "/?#") if i >= 0), default=len(after))
        target = after[netloc_end:].partition("#")[0]
        if not target.startswith("/"):
            target = "/" + target
        netloc = parts.netloc.rpartition("@")[2]
        host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else ""
        return cls(
            text,
            parts.scheme,
            host or parts.hostname,
            port or _PORTS[parts.scheme],
            netloc if not host else netloc.replace(parts.hostname, host),
            _carriable(target),
        )

    @property
    def origin(self) -> tuple[str, str, int]:
        """What connections are kept by."""
        return self.scheme, self.host, self.port

    def join(self, location: str) -> str:
        """Return where a redirect leads."""
        return urljoin(self.text, location)

    def proxy(self) -> Url | None:
        """Return the proxy that the environment names for this URL."""
        name = f"{self.scheme}_proxy"
        text = os.environ.get(name) or (
            os.environ.get(name.upper(), "") if self.scheme == "https" else ""
        )
        if not text or self._without_proxy():
            return None
        return Url.parse(text if "://" in text else f"http://{text}")

    def _without_proxy(self) -> bool:
        listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        names = [name.strip().lstrip(".*") for name in listed.split(",")]
        host = self.host
        return listed.strip() == "*" or any(
            host == name or host.endswith(f".{name}") for name in names if name
        )


def with_params(url: str, params: Mapping[str, Any] | None) -> str:
    """Add parameters to a URL's query; what is there already is kept verbatim."""
    if not params:
        return url
    head, hash_mark, fragment = url.partition("#")
    joint = "&" if "?" in head else "?"
    return f"{head}{joint}{urlencode(params, doseq=True)}{hash_mark}{fragment}"


def _carriable(target: str) -> str:
    """Escape spaces, control characters and non-ASCII text, and nothing else."""
    if target.isascii() and target.isprintable() and " " not in target:
        return target
    return "".join(chr(byte) if 0x20 < byte < 0x7F else f"%{byte:02X}" for byte in target.encode())
