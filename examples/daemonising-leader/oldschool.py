"""A daemon of the old school: it forks twice, leaves its session, and its leader exits."""

import os
import signal
import socket
import sys
import time


def notify(message: str) -> None:
    """Tells the supervisor something; see sd_notify(3)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.encode(), os.environ["NOTIFY_SOCKET"])


def stubborn_helper() -> None:
    """Ignores the polite request to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def main() -> None:
    """Daemonises, then works."""
    if os.fork():
        time.sleep(1)  # the leader stays until the daemon has spoken for itself
        sys.exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    notify(f"MAINPID={os.getpid()}\nREADY=1\nSTATUS=working in the background")
    if os.fork() == 0:
        stubborn_helper()
    while True:
        print("the daemon works", flush=True)
        time.sleep(5)


if __name__ == "__main__":
    main()
