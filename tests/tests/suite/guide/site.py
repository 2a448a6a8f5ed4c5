"""What the guide's programs talk to: a web site, Slack, PagerDuty and a model gateway in one."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

tries: dict[str, int] = {}


class Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        tries[self.path] = tries.get(self.path, 0) + 1
        again = tries[self.path] > 2
        if path == "/flaky":
            self.answer(200 if again else 503, {"tries": tries[self.path]})
        elif path == "/slack-busy":
            self.answer(200 if again else 429, {}, retry_after="0")
        elif path in ("/missing", "/slack-broken"):
            self.answer(404, {"reason": "nothing here"})
        elif path == "/pagerduty":
            key = json.loads(body)["routing_key"]
            self.answer(202, {"status": "success", "dedup_key": f"dedup-{key}"})
        elif path == "/llm/v1/chat/completions":
            self.complete(json.loads(body))
        else:
            said = {"method": self.command, "path": self.path, "body": body.decode()}
            self.answer(200, {**said, "mark": self.headers.get("X-Mark")})

    do_POST = do_PATCH = do_GET

    def complete(self, request: dict[str, Any]) -> None:
        question = request["messages"][-1]["content"]
        if question == "too much":
            self.answer(429, {"error": {"message": "slow down"}})
            return
        text = f"Here:\n```json\n{json.dumps([request['model'], question])}\n```\nDone."
        router = json.loads(self.headers.get("X-Openclaw-Router") or "{}")
        self.answer(
            200,
            {
                "model": "model-1",
                "choices": [{"message": {"content": json.dumps(router) if router else text}}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 7},
            },
        )

    def answer(self, status: int, value: Any, retry_after: str | None = None) -> None:
        if self.path.startswith("/flaky"):
            # No try is made on a kept connection, so that each is sent once.
            self.close_connection = True
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Site).serve_forever()
