"""An agent that abuses what it was given; its first argument says how."""

import ctypes
import http.client
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

MEBIBYTE = 1 << 20


def say(text):
    """Print a line at once."""
    print(text, flush=True)


def flood():
    """Print one line of 64 MiB, zeros, and what a terminal would obey."""
    for _ in range(64):
        os.write(1, b"x" * MEBIBYTE)
    os.write(1, b"\n")
    for _ in range(16):
        os.write(2, bytes(MEBIBYTE))
    for _ in range(10_000):
        os.write(1, b"\x1b]0;owned\x07\x1b[2J\x1b[31m\r\x08\xff\xfe\n")
    say("flooded")


def fills(memory):
    """Write to all of a piece of memory."""
    for at in range(0, len(memory), 4096):
        memory[at] = 1
    say("it fits")


def bomb_heap():
    """Take memory."""
    fills(bytearray(512 * MEBIBYTE))


def bomb_memfd():
    """Take memory as a file without a name."""
    held = os.memfd_create("bomb")
    for _ in range(512):
        os.write(held, bytes(MEBIBYTE))
    say("it fits")


def bomb_sysv():
    """Take memory that processes share."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    size = 512 * MEBIBYTE
    held = libc.shmget(0, ctypes.c_size_t(size), 0o1600)
    at = libc.shmat(held, None, 0)
    fills((ctypes.c_ubyte * size).from_address(at))


def plant(here, what, secret):
    """Put something in the place of a directory that the next life is given."""
    place = Path(here) / what
    if (Path(here) / "planted").exists():
        say(f"the second life sees {sorted(path.name for path in place.iterdir())}")
        (place / "reached").write_text("x")
        return
    if place.exists():
        place.rename(Path(here) / "away")
    if what in ("link", "hole"):
        place.symlink_to(secret)
    elif what == "fifo":
        os.mkfifo(place)
    elif what == "socket":
        socket.socket(socket.AF_UNIX).bind(str(place))
    else:
        with place.open("wb") as file:
            file.truncate(1 << 40)
    (Path(here) / "planted").write_text("x")
    say("planted")


def stubborn():
    """Make a tree that hears nothing, of which a part left and a part stands still."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for number in range(4):
        if os.fork() == 0:
            if number % 2:
                os.setsid()
            if os.fork():
                os._exit(0)
            if number > 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            while True:
                time.sleep(1000)
    for _ in range(4):
        os.wait()
    say("stubborn")
    os.kill(os.getpid(), signal.SIGSTOP)


def notify_badly():
    """Send what is no notification, what is too long, and what names others."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address is None:
        return
    client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    client.setblocking(False)
    for message in [
        b"x" * 200_000,
        b"\xff\x00=\n" * 1000,
        b"MAINPID=1",
        b"MAINPID=99999999999999999999",
        b"EXTEND_TIMEOUT_USEC=18446744073709551615",
        b"STATUS=" + b"s" * 60_000,
        b"READY=1\n" * 5000,
    ]:
        for _ in range(50):
            try:
                client.sendto(message, address.replace("@", "\0", 1))
            except OSError:
                break


def talk(request, more=b""):
    """Send these bytes to the supervisor; how it answers."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(os.environ["OPENCLAW_SOCK"])
            client.sendall(request)
            for _ in range(80 if more else 0):
                client.sendall(more)
            return client.recv(100).decode(errors="replace").split(" ")[1]
    except (OSError, IndexError) as error:
        return type(error).__name__


def talk_badly():
    """Ask the supervisor for what cannot be, and too much of it."""
    head = f"Host: openclaw\r\nAuthorization: Bearer {os.environ['OPENCLAW_TOKEN']}\r\n"
    half_open = []
    for _ in range(200):
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        try:
            client.connect(os.environ["OPENCLAW_SOCK"])
            client.sendall(b"POST /v1/events HTTP/1.1\r\nHost: op")
        except OSError:
            break
        half_open.append(client)
    for client in half_open:
        client.close()
    huge = f"POST /v1/events HTTP/1.1\r\n{head}Content-Length: {1 << 40}\r\n\r\n".encode()
    say(f"huge {talk(huge, b'[' * MEBIBYTE)}")
    deep = b"[" * MEBIBYTE
    nested = f"PUT /v1/state/deep HTTP/1.1\r\n{head}Content-Length: {len(deep)}\r\n\r\n".encode()
    say(f"deep {talk(nested + deep)}")
    wrong = f"POST /v1/work/w_of_another/done HTTP/1.1\r\n{head}Content-Length: 2\r\n\r\n{{}}"
    say(f"wrong {talk(wrong.encode())}")
    foreign = f"GET /v1/state HTTP/1.1\r\n{head}\r\n".replace("Bearer ", "Bearer x")
    say(f"foreign {talk(foreign.encode())}")


def tell():
    """Say a secret wherever something can be said."""
    secret = os.environ["CLAW_TEST_SECRET"]
    half = len(secret) // 2
    os.write(1, f"the secret is {secret[:half]}".encode())
    time.sleep(0.1)
    os.write(1, f"{secret[half:]}.\n".encode())
    print(secret, file=sys.stderr, flush=True)
    line = http.client.HTTPConnection("openclaw")
    line.sock = socket.socket(socket.AF_UNIX)
    line.sock.connect(os.environ["OPENCLAW_SOCK"])
    token = {"Authorization": f"Bearer {os.environ['OPENCLAW_TOKEN']}"}
    for method, path, body in [
        ("GET", f"/v1/state/{secret}", None),
        ("PUT", "/v1/state/told", json.dumps({"inside": f"<{secret}>"})),
        ("POST", "/v1/events", json.dumps({"name": "told", "data": secret})),
    ]:
        line.request(method, path, body, token)
        answer = line.getresponse()
        say(f"{method} {answer.status} {answer.read()[:200]}")
    raise RuntimeError(secret)


def main():
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["flood"]:
            flood()
        case ["heap"]:
            bomb_heap()
        case ["memfd"]:
            bomb_memfd()
        case ["sysv"]:
            bomb_sysv()
        case ["plant", here, what, secret]:
            plant(here, what, secret)
        case ["stubborn"]:
            stubborn()
        case ["talk"]:
            notify_badly()
            talk_badly()
            say("talked")
            time.sleep(1000)
        case ["tell"]:
            tell()
        case other:
            raise ValueError(other)


main()
