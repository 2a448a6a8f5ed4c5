"""A web service that counts visits in the store; `/live` says it runs, `/ready` it can work."""

import argparse
import http.server
import json
import signal
import socket
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    """Three pages."""

    store: tuple[str, int]

    def do_GET(self) -> None:
        """Answers one request."""
        match self.path:
            case "/live":
                self._answer(200, {"status": "ok"})
            case "/ready" | "/":
                self._from_store()
            case _:
                self._answer(404, {"status": "no such page"})

    def _from_store(self) -> None:
        try:
            if self.path == "/ready":
                self._ask("get visits")
                self._answer(200, {"status": "ok"})
            else:
                visits = int(self._ask("get visits") or 0) + 1
                self._ask(f"set visits {visits}")
                self._answer(200, {"visits": visits})
        except OSError as error:
            self._answer(503, {"status": f"store: {error}"})

    def _ask(self, request: str) -> str:
        with socket.create_connection(self.store, timeout=1) as connection:
            connection.sendall(f"{request}\n".encode())
            return connection.makefile().readline().strip()

    def _answer(self, status: int, body: dict[str, object]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Probes come every few seconds; only what visitors ask for is worth a line."""
        if self.path not in {"/live", "/ready"}:
            super().log_request(code, size)


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", required=True)
    arguments = parser.parse_args()
    host, port = arguments.store.rsplit(":", 1)
    Handler.store = (host, int(port))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler) as server:
        print(f"web listens on port {arguments.port}")
        server.serve_forever()


if __name__ == "__main__":
    main()
