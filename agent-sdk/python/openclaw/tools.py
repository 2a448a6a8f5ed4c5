"""Tools for agents: HTTP, Slack, PagerDuty."""

from ._http import Headers, HttpClient, Response
from ._notifiers import PagerDutyClient, SlackNotifier

__all__ = ["Headers", "HttpClient", "PagerDutyClient", "Response", "SlackNotifier"]
