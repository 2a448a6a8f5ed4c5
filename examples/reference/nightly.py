"""Writes a report of how many visits the store has counted."""

import datetime
import pathlib
import socket
import sys


def main() -> None:
    """Asks the store at the first argument, and writes into the folder of the second."""
    host, port = sys.argv[1].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"get visits\n")
        visits = connection.makefile().readline().strip() or "0"
    day = datetime.datetime.now(tz=datetime.UTC).date()
    report = pathlib.Path(sys.argv[2]) / f"report-{day}.txt"
    report.write_text(f"visits: {visits}\n")
    print(f"wrote {report}: {visits} visits")


if __name__ == "__main__":
    main()
