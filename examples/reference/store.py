"""A key-value service over TCP, one line a request: `get KEY` or `set KEY VALUE`."""

import argparse
import json
import pathlib
import signal
import socketserver
import sys
import threading


class Store:
    """The values, kept in one JSON file that is replaced whole."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._values: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str) -> str:
        """The value, or nothing."""
        with self._lock:
            return self._values.get(key, "")

    def set(self, key: str, value: str) -> None:
        """Keeps the value before it returns."""
        with self._lock:
            self._values[key] = value
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(self._values))
            fresh.replace(self._path)


class Handler(socketserver.StreamRequestHandler):
    """Answers the lines of one connection."""

    store: Store

    def handle(self) -> None:
        """Reads until the other side is done."""
        for line in self.rfile:
            words = line.decode(errors="replace").split(maxsplit=2)
            match words:
                case ["get", key]:
                    answer = self.store.get(key)
                case ["set", key, value]:
                    self.store.set(key, value.strip())
                    answer = "ok"
                case _:
                    answer = "error: use `get KEY` or `set KEY VALUE`"
            self.wfile.write(f"{answer}\n".encode())


class Server(socketserver.ThreadingTCPServer):
    """Accepts while it lives; a restart finds its port free."""

    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    Handler.store = Store(arguments.folder / "store.json")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(("127.0.0.1", arguments.port), Handler) as server:
        print(f"store listens on port {arguments.port}")
        server.serve_forever()


if __name__ == "__main__":
    main()
