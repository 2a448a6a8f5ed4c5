"""Ways to reach somebody, each an attempt that complains of how it ends."""

import contextlib
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Callable

PROXY = ("127.0.0.1", 3128)
Attempt = Callable[[], object]


def connects(family: int, address: object) -> Attempt:
    """Connect a stream."""

    def attempt() -> None:
        with socket.socket(family) as client:
            client.settimeout(3)
            client.connect(address)

    return attempt


def opens(family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> Attempt:
    """Make a socket."""
    return lambda: socket.socket(family, kind, protocol).close()


def asks(request: str, allowed: str | None = None, proxy: tuple[str, int] = PROXY) -> Attempt:
    """Send a request to the proxy; complain of any answer but the one that is meant."""

    def attempt() -> None:
        with socket.create_connection(proxy, 5) as client:
            client.sendall(request.encode())
            status = client.recv(200).decode(errors="replace").split(" ")
        code = status[1] if len(status) > 1 else "closed"
        if code != allowed:
            raise ValueError(code)

    return attempt


def tunnels(host: str) -> Attempt:
    """Open a tunnel; complain of any answer but that there is one."""
    request = f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    return asks(request, allowed="200")


def fetches(address: str) -> Attempt:
    """Ask a web server for a page; complain of any answer but a page."""
    request = f"GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"
    return asks(request, allowed="200", proxy=(address, 80))


def resolves(name: str) -> Attempt:
    """Resolve a name."""
    return lambda: socket.getaddrinfo(name, 443)


def sends(address: tuple[str, int]) -> Attempt:
    """Send a question of DNS and wait for an answer."""

    def attempt() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.connect(address)
            client.send(
                b"\x00\x07\x01\x00\x00\x01" + bytes(6) + b"\x04evil\x03com\x00\x00\x01\x00\x01"
            )
            answer = client.recv(512)
        raise ValueError(f"rcode {answer[3] & 15}, {answer[7]} answers")

    return attempt


def hello(name: str | None) -> bytes:
    """Make what a client of TLS says first, naming a host or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def says(host: str, first: Callable[[], bytes]) -> Attempt:
    """Say something in a tunnel; complain unless the host at its end answers."""

    def attempt() -> None:
        with socket.create_connection(PROXY, 5) as client:
            client.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
            status = client.recv(200).decode(errors="replace").split(" ")
            if status[1:2] != ["200"]:
                raise ValueError(status[1] if len(status) > 1 else "closed")
            client.sendall(first())
            try:
                answer = client.recv(200)
            except ConnectionResetError:
                answer = b""
        # An alert of TLS is how the supervisor says that it closes.
        if not answer or answer[:1] == b"\x15":
            raise ValueError("closed")

    return attempt


def relays(host: str) -> Attempt:
    """Ask for a tunnel through a relay of one's own, as if the relay were who may."""

    def relay(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(PROXY, 5) as onward:
            onward.sendall(client.recv(1000))
            client.sendall(onward.recv(1000))

    def attempt() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=relay, args=(listener,), daemon=True).start()
            own = listener.getsockname()
            asks(
                f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: listed.test\r\n\r\n",
                allowed="200",
                proxy=own,
            )()

    return attempt


class Supervisor(http.client.HTTPConnection):
    """The supervisor, at this agent's own socket."""

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["OPENCLAW_SOCK"])


def controls(path: str) -> Attempt:
    """Ask the supervisor for its agents at its control socket."""

    def attempt() -> None:
        line = http.client.HTTPConnection("openclaw")
        line.sock = socket.socket(socket.AF_UNIX)
        line.sock.connect(path)
        line.request("GET", "/api/agents")
        status = line.getresponse().status
        if status >= 300:
            raise ValueError(str(status))

    return attempt


def requests(method: str, path: str, body: bytes | None = None) -> Attempt:
    """Ask the supervisor as this agent; complain of any answer but a good one."""

    def attempt() -> None:
        line = Supervisor("openclaw", timeout=30)
        line.request(
            method, path, body, {"Authorization": f"Bearer {os.environ['OPENCLAW_TOKEN']}"}
        )
        status = line.getresponse().status
        if status >= 300:
            raise ValueError(str(status))

    return attempt
