"""Slack and PagerDuty, and the project's own notifiers."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

from ._errors import ConfigError, NotifierError
from ._work import current

if TYPE_CHECKING:
    from ._http import HttpClient, Response
    from ._link import Link

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
TIMEOUT_SECONDS = 10.0
# A channel that is limited for longer than this is not where an alarm should wait.
MAX_WAIT_SECONDS = 60.0
MAX_ATTEMPTS = 4
_SEVERITIES = {
    "critical": "critical",
    "error": "error",
    "high": "error",
    "warning": "warning",
    "medium": "warning",
    "low": "info",
    "info": "info",
}


class SlackNotifier:
    """Sends text to a Slack channel through an incoming webhook."""

    def __init__(self, webhook_url: str) -> None:
        if not webhook_url:
            raise ConfigError("SlackNotifier needs a webhook_url")
        self._url = webhook_url

    async def send(self, text: str, **fields: Any) -> None:
        """Send a message; NotifierError when Slack does not take it. Waits where Slack says so."""
        response = await _post(self._url, {"text": text, **fields})
        if not response.ok:
            shown = response.text[:200]
            raise NotifierError(f"Slack answered {response.status_code}: {shown}")

    def __repr__(self) -> str:
        return "SlackNotifier('***')"


class ProjectNotifier:
    """Sends text through a notifier of the fleet file, whose address the agent never sees."""

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name

    async def send(self, text: str, **_: Any) -> None:
        """Send a message."""
        body = json.dumps({"to": self._name, "text": text}).encode()
        await self._link.call("POST", "/v1/notify", body)


class MissingNotifier:
    """Stands where no notifier is configured, and says so when used."""

    def __init__(self, agent: str) -> None:
        self._agent = agent

    async def send(self, text: str, **_: Any) -> None:
        """Raise ConfigError naming what to set."""
        raise ConfigError(
            f"no Slack configured: set `agents.{self._agent}.config.slack_webhook` "
            "or `notifiers.slack` in openclaw.yaml"
        )


class PagerDutyClient:
    """Triggers and resolves incidents through Events API v2; `api_key` is the routing key."""

    def __init__(self, api_key: str) -> None:
        if not api_key:
            raise ConfigError("PagerDutyClient needs an api_key, the integration's routing key")
        self._key = api_key
        self._url = os.environ.get("OPENCLAW_PAGERDUTY_URL", PAGERDUTY_URL)

    async def trigger_incident(
        self,
        title: str,
        severity: str = "critical",
        details: dict[str, Any] | None = None,
        *,
        dedup_key: str | None = None,
        source: str | None = None,
    ) -> str:
        """Open an incident; return the key with which it is resolved."""
        level = _SEVERITIES.get(severity.lower())
        if level is None:
            raise ValueError(f"severity {severity!r} is none of {', '.join(_SEVERITIES)}")
        scope = current.get()
        event = {
            "routing_key": self._key,
            "event_action": "trigger",
            "client": "OpenClaw",
            "payload": {
                "summary": title[:1024],
                "severity": level,
                "source": source or (scope.agent.name if scope else "") or socket.gethostname(),
                "custom_details": details or {},
            },
        }
        return await self._enqueue(event, dedup_key)

    async def resolve_incident(self, dedup_key: str) -> None:
        """Close an incident."""
        event = {"routing_key": self._key, "event_action": "resolve"}
        await self._enqueue(event, dedup_key)

    async def _enqueue(self, event: dict[str, Any], dedup_key: str | None) -> str:
        if dedup_key:
            event["dedup_key"] = dedup_key
        response = await _post(self._url, json.loads(json.dumps(event, default=str)))
        if response.status_code != 202:
            shown = response.text[:200]
            raise NotifierError(f"PagerDuty answered {response.status_code}: {shown}")
        try:
            return str(response.json().get("dedup_key") or "")
        except (ValueError, AttributeError):
            return dedup_key or ""

    def __repr__(self) -> str:
        return "PagerDutyClient('***')"


async def _post(url: str, body: dict[str, Any]) -> Response:
    from ._http import HttpClient

    client: HttpClient = HttpClient(timeout=TIMEOUT_SECONDS)
    try:
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                response = await client.post(url, json=body)
            except OSError as error:
                raise NotifierError(_without_path(str(error), url)) from None
            wait = response.headers.get("retry-after", "")
            seconds = float(wait) if wait.replace(".", "", 1).isdigit() else 1.0
            if response.status_code != 429 or attempt == MAX_ATTEMPTS or seconds > MAX_WAIT_SECONDS:
                return response
            await client._pause(seconds)
    finally:
        await client.close()
    raise AssertionError("the last attempt returns or raises")


def _without_path(message: str, url: str) -> str:
    """Return a message without the URL, which is the secret of a webhook."""
    return message.replace(url, url.partition("//")[2].partition("/")[0])
