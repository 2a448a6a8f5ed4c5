from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import pytest
from openclaw import Agent, ConfigError, NotifierError
from openclaw._config import Config
from openclaw._logging import JsonLines
from openclaw._work import Scope, Work, current
from openclaw.testing import Harness
from openclaw.tools import PagerDutyClient, SlackNotifier
from web import Web, ok

SLACK = "https://hooks.slack.com/services/T0/B0/secret"


async def test_slack_sends_text_and_raises_on_errors() -> None:
    async with Web(ok(), ok(b"invalid_payload", status="400 Bad Request")) as web:
        slack = SlackNotifier(webhook_url=f"{web.url}/services/secret")
        await slack.send("hello")
        with pytest.raises(NotifierError, match="400: invalid_payload"):
            await slack.send("x")
    assert json.loads(web.bodies[0]) == {"text": "hello"}
    assert "secret" not in repr(slack)


async def test_slack_waits_where_it_is_told_to() -> None:
    async with Web(ok(status="429 Wait", headers="Retry-After: 0\r\n"), ok()) as web:
        await SlackNotifier(webhook_url=web.url).send("x")
    assert len(web.heads) == 2
    async with Web(ok(status="429 Wait", headers="Retry-After: 3600\r\n")) as web:
        with pytest.raises(NotifierError, match="429"):
            await SlackNotifier(webhook_url=web.url).send("x")


async def test_an_unreachable_slack_does_not_show_its_secret() -> None:
    with pytest.raises(NotifierError) as caught:
        await SlackNotifier(webhook_url="http://127.0.0.1:1/services/secret").send("x")
    assert "secret" not in str(caught.value)


class Speaker(Agent):
    async def run(self) -> None:
        await self.slack.send("hello")


async def test_slack_without_setup_comes_from_the_config(harness: Any) -> None:
    h = harness(Speaker, config={"slack_webhook": SLACK})
    h.http.post(SLACK)
    await h.run()
    assert h.http.requests[0].json == {"text": "hello"}


async def test_slack_without_a_webhook_is_the_project_s(harness: Any) -> None:
    h = harness(Speaker, notifiers=["slack"])
    await h.run()
    assert h.notices == [("slack", "hello")]


async def test_slack_without_either_is_a_config_error_on_use(harness: Any) -> None:
    h = harness(Speaker)
    agent = await h.start()
    assert agent.slack is not None
    with pytest.raises(ConfigError, match=r"agents\.speaker\.config\.slack_webhook"):
        await h.run()


async def test_slack_may_be_assigned(harness: Any) -> None:
    class Mine(Agent):
        async def setup(self) -> None:
            self.slack = SlackNotifier(webhook_url=SLACK)

        async def run(self) -> None:
            await self.slack.send("mine")

    h = harness(Mine)
    h.http.post(SLACK)
    await h.run()
    assert len(h.http.requests) == 1


async def test_pagerduty_triggers_through_events_v2(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = ok(b'{"status":"success","dedup_key":"d1"}', status="202 Accepted")
    async with Web(answer) as web:
        monkeypatch.setenv("OPENCLAW_PAGERDUTY_URL", f"{web.url}/v2/enqueue")
        client = PagerDutyClient(api_key="key1")
        key = await client.trigger_incident(
            title="web is down", severity="critical", details={"url": "x"}
        )
        await client.resolve_incident(key)
    event = json.loads(web.bodies[0])
    assert (event["routing_key"], event["event_action"]) == ("key1", "trigger")
    assert event["payload"]["summary"] == "web is down"
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["custom_details"] == {"url": "x"}
    assert event["payload"]["source"]
    assert json.loads(web.bodies[1])["dedup_key"] == "d1"
    assert "key1" not in repr(client)


async def test_pagerduty_errors_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Web(ok(b'{"status":"invalid event"}', status="400 Bad Request")) as web:
        monkeypatch.setenv("OPENCLAW_PAGERDUTY_URL", web.url)
        with pytest.raises(NotifierError, match="invalid event"):
            await PagerDutyClient(api_key="k").trigger_incident(title="x")
        with pytest.raises(ValueError, match="severity"):
            await PagerDutyClient(api_key="k").trigger_incident(title="x", severity="loud")


def config(**values: Any) -> Config:
    return Config(values, agent="monitor", secrets=["token", "db.password", "keys.0"])


def test_config_is_read_by_attribute_key_and_default() -> None:
    c = config(targets=[{"url": "x"}], db={"host": "h"})
    assert c.targets[0]["url"] == "x"
    assert c["db"]["host"] == "h"
    assert type(c.db) is dict
    assert (c.get("targets")[0], c.get("missing", 5), c.get("missing")) == ({"url": "x"}, 5, None)
    assert "targets" in c
    assert sorted(c) == ["db", "targets"]


def test_a_missing_key_names_its_path_in_the_fleet_file() -> None:
    c = config()
    with pytest.raises(ConfigError, match=r"agents\.monitor\.config\.slack_webhook"):
        c.slack_webhook  # noqa: B018
    with pytest.raises(AttributeError):
        c.slack_webhook  # noqa: B018
    with pytest.raises(KeyError):
        c["x"]
    assert not hasattr(c, "x")
    assert getattr(c, "x", 1) == 1
    with pytest.raises(ConfigError, match="read-only"):
        c.x = 1


def test_secrets_are_resolved_and_hidden_in_repr() -> None:
    c = config(token="t0ps3cret", db={"password": "hunter22", "host": "h"}, keys=["k3y", "open"])
    assert (c.token, f"{c.token}", c.db["password"]) == ("t0ps3cret", "t0ps3cret", "hunter22")
    for shown in (repr(c), repr(c.db), repr(c["keys"])):
        assert not {"t0ps3cret", "hunter22", "k3y"} & set(shown.replace("'", " ").split())
        assert "***" in shown
    assert c.secret_values() == ["t0ps3cret", "hunter22", "k3y"]


def test_logs_are_json_lines_with_agent_run_and_trace_and_without_secrets() -> None:
    formatter = JsonLines("monitor", "monitor-0-1")
    formatter.secrets = ["hunter22"]
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.getLogger("monitor")
    logger.addHandler(handler)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    fields = {"work": "w", "attempt": 1, "kind": "run", "run": "r_1", "traceparent": trace}
    token = current.set(Scope(Agent(), Work(fields, None, None)))  # type: ignore[arg-type]
    try:
        logger.warning("password is %s", "hunter22", extra={"count": 3})
    finally:
        current.reset(token)
        logger.removeHandler(handler)
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "message": "password is ***",
        "logger": "monitor",
        "agent": "monitor",
        "instance": "monitor-0-1",
        "run": "r_1",
        "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
        "count": 3,
    }


RSS = """<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>
<item><title>One &amp; only</title><link>https://x/1</link><guid>g1</guid><description>short</description>
<content:encoded><![CDATA[<p>long</p>]]></content:encoded></item>
<item><title>Two</title><link>https://x/2</link></item></channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>urn:1</id><title>A</title>
<link rel="self" href="https://x/self"/><link href="https://x/a"/><summary>s</summary></entry></feed>"""


async def test_parse_rss_gives_id_title_link_and_content(harness: Any) -> None:
    agent = await harness(Speaker).start()
    one, two = agent.parse_rss(RSS)
    assert (one["id"], one["title"], one["link"], one["content"]) == (
        "g1",
        "One & only",
        "https://x/1",
        "<p>long</p>",
    )
    assert (two["id"], two["content"]) == ("https://x/2", "")
    [entry] = agent.parse_rss(ATOM)
    assert (entry["id"], entry["title"], entry["link"], entry["content"]) == (
        "urn:1",
        "A",
        "https://x/a",
        "s",
    )
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><rss><item><title>&a;</title></item></rss>'
    assert agent.parse_rss("<broken") == agent.parse_rss(bomb) == []


@pytest.mark.parametrize(
    ("metric", "percent"),
    [
        ("250m", 25.0),
        ("137000000n", 13.7),
        ("85.5%", 85.5),
        (0.5, 50.0),
        ("2", 200.0),
        ({"usage": {"cpu": "250m", "memory": "1Gi"}}, 25.0),
        ({"value": [1700000000, "0.25"]}, 25.0),
    ],
)
async def test_parse_cpu_is_percent_of_a_core(metric: Any, percent: float) -> None:
    assert Agent().parse_cpu(metric) == percent


def test_parse_cpu_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match="no CPU quantity"):
        Agent().parse_cpu("fast")


async def test_helpers_may_be_overridden(harness: type[Harness]) -> None:
    class Own(Agent):
        def parse_cpu(self, metric: Any) -> float:
            return 1.0

        async def run(self) -> float:
            await asyncio.sleep(0)
            return self.parse_cpu("x")

    assert await harness(Own).run() == 1.0
