"""What the client adds to a state operation: round trips to a server that answers at once.

`python benches/state.py [SECONDS]`. The server is another Python process with a canned answer,
so nothing but socket, parsing and event loops is measured; a third line rewrites a value of
1.9 MB.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
HISTORY = [
    {"t": "2026-01-05T11:55:00.000Z", "name": "web", "up": True, "status": 200, "note": "x" * 110}
] * 10_000


class Canned(asyncio.Protocol):
    """Answers every request at once; knows just enough to tell them apart."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.buffer = bytearray()
        self.need = 0

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.need:
            end = self.buffer.find(b"\r\n\r\n")
            length = self.buffer.find(b"Content-Length: ")
            stop = self.buffer.find(b"\r\n", length)
            size = int(self.buffer[length + 16 : stop]) if 0 <= length < end else 0
            self.need = end + 4 + size
        if len(self.buffer) < self.need:
            return
        large = b"/big " in self.buffer[:40]
        body = BIG if large and self.buffer.startswith(b"GET") else b'{"version": 7}'
        self.transport.write(
            b'HTTP/1.1 200 OK\r\nETag: "7"\r\nContent-Length: %d\r\n\r\n%b' % (len(body), body)
        )
        self.buffer.clear()
        self.need = 0


async def serve(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Canned, path)
    print("listening", flush=True)
    await server.serve_forever()


async def measure(path: str, seconds: float) -> None:
    from openclaw._address import Address, Identity
    from openclaw._link import SocketLink
    from openclaw._state import State

    link = SocketLink(Address(path, "", 0), Identity("a", "a-0-1", 0, 1, "token"))
    link.session = "s_1"
    link.start()
    state = State(link, "state", lambda _: None)
    await timed("get, small", lambda: state.get("key"), seconds)
    await timed("set, small", lambda: state.set("key", {"n": 1, "text": "x" * 80}), seconds)
    await timed("get, 1.9 MB", lambda: state.get("big"), seconds)
    await timed("set, 1.9 MB", lambda: state.set("big", HISTORY), seconds)
    await link.close()


async def timed(name: str, call: Callable[[], Awaitable[object]], seconds: float) -> None:
    times = []
    cpu, end = time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        await call()
        times.append(time.perf_counter() - begun)
    cpu = (time.process_time() - cpu) / len(times)
    times.sort()
    p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
    print(f"{name:12} p50 {p50 * 1e6:8.0f} µs  p99 {p99 * 1e6:8.0f} µs  CPU {cpu * 1e6:8.0f} µs")


def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/s"
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", path], stdout=subprocess.PIPE
        )
        assert server.stdout
        server.stdout.readline()
        try:
            asyncio.run(measure(path, seconds))
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        from openclaw._values import encode

        BIG = encode(HISTORY)
        asyncio.run(serve(sys.argv[2]))
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 2)
