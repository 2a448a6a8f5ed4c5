"""A service that tells its supervisor how it is: READY, STATUS, WATCHDOG and STOPPING."""

import os
import signal
import socket
import sys
import time


def notify(message: str) -> None:
    """Tells the supervisor something; without one it says nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message.encode(), address)


def stop(*_: object) -> None:
    """Ends in order."""
    notify("STOPPING=1\nSTATUS=cleaning up")
    sys.exit(0)


def main() -> None:
    """Works in small steps, and says so after each."""
    signal.signal(signal.SIGTERM, stop)
    notify("READY=1\nSTATUS=warmed up")
    step = 0
    while True:
        step += 1
        print(f"step {step}", flush=True)
        notify(f"WATCHDOG=1\nSTATUS=did {step} steps")
        time.sleep(1)


if __name__ == "__main__":
    main()
