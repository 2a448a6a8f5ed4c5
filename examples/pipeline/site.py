"""A site on loopback for the pipeline: `GET /feed` is RSS with one more entry each minute."""

import argparse
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TITLES = ("All calm in the north", "A delay on line 4", "Outage in the data centre")
SHOWN = 10


class Site(BaseHTTPRequestHandler):
    """Serves the feed and takes reports."""

    def do_GET(self) -> None:
        """Answer with the entries of the last minutes."""
        minute = int(time.time() // 60)
        entries = "".join(
            f"<item><guid>{n}</guid><title>{TITLES[n % len(TITLES)]}</title></item>"
            for n in range(minute - SHOWN + 1, minute + 1)
        )
        self.answer(200, f"<rss><channel>{entries}</channel></rss>".encode())

    def do_POST(self) -> None:
        """Take a report."""
        report = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        print(f"report of {len(report)} bytes", flush=True)
        self.answer(201, b"")

    def answer(self, status: int, body: bytes) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log no line for each request."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    ThreadingHTTPServer(("127.0.0.1", port), Site).serve_forever()
