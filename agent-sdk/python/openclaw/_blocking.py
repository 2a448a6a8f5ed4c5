"""One GET without the event loop, for `state.read_from(agent).get(key)` which is not awaited."""

from __future__ import annotations

import socket
import time

from ._address import Address
from ._errors import ProtocolError
from ._wire import Reply, ReplyReader

# Long enough for a restart of the supervisor, short enough that a liveness probe still passes.
PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 0.05
# Over its rate, or a supervisor that is just starting.
PASSING_STATUSES = (429, 503)
MAX_BODY_BYTES = 256 * 1024 * 1024


def get(address: Address, request: bytes) -> Reply:
    """Send a request and wait for its answer, trying again while the supervisor is away."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        left = deadline - time.monotonic()
        try:
            reply = _attempt(address, request, max(left, PAUSE_SECONDS))
            if reply.status not in PASSING_STATUSES or left <= PAUSE_SECONDS:
                return reply
        except OSError as error:
            if left <= PAUSE_SECONDS:
                raise ProtocolError(
                    f"the supervisor did not answer for {PATIENCE_SECONDS:.0f} s", "unavailable"
                ) from error
        time.sleep(PAUSE_SECONDS)


def _attempt(address: Address, request: bytes, patience: float) -> Reply:
    family = socket.AF_INET if address.path is None else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as stream:
        stream.settimeout(patience)
        stream.connect(address.path or (address.host, address.port))
        stream.sendall(request)
        reader = ReplyReader(no_body=False, max_body_bytes=MAX_BODY_BYTES)
        while True:
            data = stream.recv(262_144)
            reply = reader.feed(data) if data else reader.close()
            if reply is not None:
                return reply
            if not data:
                raise ConnectionResetError("the connection ended before the answer")
