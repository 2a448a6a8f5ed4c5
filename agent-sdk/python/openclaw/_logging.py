"""JSON lines on standard output: the supervisor captures, keeps and searches them."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from ._work import current

# A line that is longer is cut by the supervisor in the middle of its JSON.
MAX_MESSAGE_CHARACTERS = 16_000
# Shorter texts occur by chance, and hiding them would make logs unreadable.
MIN_SECRET_CHARACTERS = 4
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object, with agent, run and trace, and secrets hidden."""

    def __init__(self, agent: str, instance: str = "") -> None:
        super().__init__()
        self._agent = agent
        self._instance = instance
        self.secrets: list[str] = []

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": _LEVELS.get(record.levelno, record.levelname.lower()),
            "message": record.getMessage()[:MAX_MESSAGE_CHARACTERS],
            "logger": record.name,
            "agent": self._agent,
        }
        if self._instance:
            line["instance"] = self._instance
        scope = current.get()
        if scope and scope.work:
            line["run"] = scope.work.run
            if scope.work.traceparent:
                line["trace"] = scope.work.traceparent.split("-")[1]
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)[-MAX_MESSAGE_CHARACTERS:]
        for key, value in vars(record).items():
            if key not in _STANDARD and key not in line:
                line[key] = value
        return self._hide(json.dumps(line, ensure_ascii=False, default=str))

    def _hide(self, text: str) -> str:
        for secret in self.secrets:
            if len(secret) >= MIN_SECRET_CHARACTERS:
                text = text.replace(json.dumps(secret, ensure_ascii=False)[1:-1], "***")
        return text


_LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "error"}


def logger_of(agent: str) -> logging.Logger:
    """Return the logger of an agent."""
    return logging.getLogger(agent or "agent")


def install(formatter: JsonLines) -> None:
    """Send everything that is logged in this process to standard output as JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.INFO)
    logging.captureWarnings(True)


def set_level(name: str) -> None:
    """Set what is logged at all, by its name in the fleet file."""
    level = logging.getLevelName(name.upper())
    logging.root.setLevel(level if isinstance(level, int) else logging.INFO)
