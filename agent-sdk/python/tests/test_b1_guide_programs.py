"""Programs as authors write them, from the table of what the guide uses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openclaw import Agent, Alert, Event, Schedule, on  # noqa: F401 - the guide imports Alert
from openclaw.llm import Budget, LLMRouter, RateLimitError, TimeoutError
from openclaw.tools import HttpClient, PagerDutyClient, SlackNotifier

SLACK = "https://hooks.slack.com/services/T0/B0/x"
PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"


class UptimeMonitor(Agent):
    name = "uptime-monitor"
    schedule = Schedule.every(minutes=5)

    async def setup(self) -> None:
        self.http = HttpClient(timeout=10, retries=2, retry_delay=3)
        self.slack = SlackNotifier(webhook_url=self.config.slack_webhook)

    async def run(self) -> None:
        history = await self.state.get("history", [])
        incidents = await self.state.get("incidents", {})
        for target in self.config.targets:
            up, status = await self.check(target)
            history.append(
                {"t": self.now_iso(), "name": target["name"], "up": up, "status": status}
            )
            if not up and target["name"] not in incidents:
                incidents[target["name"]] = self.now_iso()
                await self.slack.send(f"DOWN: {target['name']} ({status})")
                # Remembered at once: a crash later in the run must not tell it twice.
                await self.state.set("incidents", incidents)
            elif up and target["name"] in incidents:
                since = incidents.pop(target["name"])
                await self.slack.send(f"RECOVERED: {target['name']} (down since {since})")
                await self.state.set("incidents", incidents)
        await self.state.set("history", history[-10_000:])
        recent = history[-1000:]
        self.metrics.gauge("uptime_percent", 100 * sum(e["up"] for e in recent) / len(recent))
        self.logger.info("checked %d targets", len(self.config.targets))

    async def check(self, target: dict[str, str]) -> tuple[bool, int | None]:
        try:
            response = await self.http.get(target["url"], timeout=self.config.get("timeout", 10))
        except Exception as error:
            self.logger.warning("%s: %s", target["name"], error)
            return False, None
        return response.status_code == 200, response.status_code

    async def teardown(self) -> None:
        await self.http.close()


TARGETS = [
    {"name": "web", "url": "https://web.example/"},
    {"name": "api", "url": "https://api.example/up"},
]


def uptime(harness: Any) -> Any:
    h = harness(
        UptimeMonitor,
        config={"targets": TARGETS, "slack_webhook": SLACK},
        secrets=["slack_webhook"],
    )
    h.http.post(SLACK, text="ok")
    h.http.get("https://api.example/up", status=200)
    return h


async def test_uptime_monitor_alerts_once_and_tells_the_recovery(harness: Any) -> None:
    h = uptime(harness)
    h.http.get("https://web.example/", 200, 503, 503, 503, 503, OSError("refused"), 200)
    await h.advance("30m")
    texts = [request.json["text"] for request in h.http.to("hooks.slack")]
    assert texts == ["DOWN: web (503)", "RECOVERED: web (down since 2026-01-05T12:05:00.000Z)"]
    assert len(h.state["history"]) == 14
    assert h.state["incidents"] == {}
    assert 80 < h.metrics["uptime_percent"] < 100


async def test_uptime_monitor_remembers_an_alert_it_has_sent_when_it_dies(harness: Any) -> None:
    h = uptime(harness)
    h.http.get("https://web.example/", status=500)
    h.crash_after("state.set", 1)
    with pytest.raises(BaseException, match=r"state\.set"):
        await h.run()
    await h.restart()
    await h.run()
    assert len(h.http.to("hooks.slack")) == 1


async def test_uptime_monitor_keeps_ten_thousand_entries(harness: Any) -> None:
    h = uptime(harness)
    h.http.get("https://web.example/", status=200)
    entry = {
        "t": "2026-01-05T11:55:00.000Z",
        "name": "web",
        "up": True,
        "status": 200,
        "note": "x" * 100,
    }
    h.state["history"] = [{**entry, "n": n} for n in range(10_000)]
    agent = await h.start()
    assert len(json.dumps(h.state["history"])) > 1_800_000
    await h.run()
    history = await agent.state.get("history")
    assert (len(history), history[0]["n"], history[-1]["name"]) == (10_000, 2, "api")


class SecurityMonitor(Agent):
    schedule = Schedule.every(minutes=1)
    llm = LLMRouter(
        primary="gpt-4o",
        fallback=["claude-3.5-sonnet"],
        budget=Budget(daily_limit_usd=10.0, alert_at_pct=80),
        retry_on=[RateLimitError, TimeoutError],
        max_retries=3,
        timeout=30,
    )

    async def run(self) -> None:
        logs = (await self.http.get(self.config.log_url + "?level!=debug")).text
        result = await self.llm.complete(
            messages=[
                {"role": "system", "content": "Find threats. Answer with a JSON list."},
                {"role": "user", "content": logs},
            ],
            temperature=0.1,
            max_tokens=500,
        )
        self.logger.info(
            f"{result.model}: {result.usage.total_tokens} tokens, "
            f"${result.usage.cost_usd:.4f}, {result.latency_ms:d} ms"
        )
        threats = result.parsed
        severe = [threat for threat in threats if threat["severity"] == "critical"]
        for threat in severe:
            await self.http.post(self.config.firewall_url, json={"block": threat["ip"]})
        if severe:
            await self.emit("threats_detected", {"threats": severe, "summary": result})


class IncidentResponder(Agent):
    async def setup(self) -> None:
        self.pagerduty = PagerDutyClient(api_key=self.config.pagerduty_key)

    @on("threats_detected")
    async def respond(self, event: Event) -> None:
        await self.pagerduty.trigger_incident(
            title=f"{len(event.data['threats'])} threats",
            severity="critical",
            details={"summary": event.data["summary"], "source": event.source},
        )
        await self.state.set(f"incident:{self.generate_id()}", self.now_iso(), ttl="7d")


async def test_security_agent_with_a_language_model_and_an_incident(harness: Any) -> None:
    config = {
        "log_url": "https://logs.example/q",
        "firewall_url": "https://fw.example/rules",
        "pagerduty_key": "key",
    }
    h = harness(SecurityMonitor, IncidentResponder, config=config)
    h.http.get("https://logs.example/q?level!=debug", text="failed login from 6.6.6.6 ×500")
    h.http.post("https://fw.example/rules", status=201)
    h.http.post(PAGERDUTY, status=202, json={"status": "success", "dedup_key": "d"})
    threats = [{"ip": "6.6.6.6", "severity": "critical"}, {"ip": "7.7.7.7", "severity": "low"}]
    answer = f"Two found:\n```json\n{json.dumps(threats)}\n```"
    h.llm.answer(answer, model="gpt-4o-2024", cost_usd=0.01)
    await h.run()
    assert h.http.to("fw.example")[0].json == {"block": "6.6.6.6"}
    [event] = h.emitted
    assert event.data == {"threats": threats[:1], "summary": answer}
    assert h.http.to("pagerduty")[0].json["payload"]["custom_details"]["summary"] == answer
    assert h.llm.requests[0]["temperature"] == 0.1
    assert len(h["incident-responder"].state) == 1


class ComplianceChecker(Agent):
    schedule = Schedule.every(hours=6)

    async def run(self) -> None:
        findings = []
        for check in self.config.get("checks", []):
            response = await self.http.get(check["url"], headers={"Authorization": "Bearer x"})
            if response.json().get("encrypted") is not True:
                findings.append(check["name"])
        known = await self.state.get("known", set())
        new = set(findings) - known
        if new:
            await self.slack.send("Not compliant: " + ", ".join(sorted(new)))
        await self.state.set("known", set(findings))


async def test_compliance_tells_slack_what_is_new(harness: Any) -> None:
    checks = [{"name": n, "url": f"https://cloud.example/{n}"} for n in ("bucket", "disk")]
    h = harness(ComplianceChecker, config={"checks": checks, "slack_webhook": SLACK})
    h.http.post(SLACK)
    h.http.get("https://cloud.example/bucket", json={"encrypted": False})
    h.http.get("https://cloud.example/disk", {"encrypted": True}, {"encrypted": False})
    await h.advance("12h")
    texts = [request.json["text"] for request in h.http.to("hooks.slack")]
    assert texts == ["Not compliant: bucket", "Not compliant: disk"]
    assert h.state["known"] == {"bucket", "disk"}


class Collector(Agent):
    schedule = Schedule.every(minutes=30)

    async def run(self) -> None:
        items = self.parse_rss((await self.http.get(self.config.feed)).text)
        seen = await self.state.get("seen", set())
        fresh = [item for item in items if item["id"] not in seen]
        seen.update(item["id"] for item in fresh)
        await self.state.set("seen", seen)
        if fresh:
            await self.emit("data_collected", {"items": fresh})


class Analyzer(Agent):
    @on("data_collected")
    async def analyze(self, event: Event) -> None:
        text = "\n".join(item["title"] for item in event.data["items"])
        summary = await self.llm.complete(f"Summarise:\n{text}")
        await self.state.set("latest", {"summary": summary, "count": len(event.data["items"])})
        await self.shared_state.set("items_total", len(event.data["items"]))
        await self.emit("analysis_complete", {"summary": summary})


class Reporter(Agent):
    name = "reporter"

    @on("analysis_complete")
    async def report(self, event: Event) -> None:
        latest = self.state.read_from("analyzer").get("latest", {})
        total = await self.shared_state.get("items_total")
        missing = await self.shared_state.get("nothing")
        await self.state.set("report", [event.data["summary"], latest["count"], total, missing])


async def test_pipeline_with_read_from_and_shared_state(harness: Any) -> None:
    h = harness(Collector, Analyzer, Reporter, config={"feed": "https://news.example/rss"})
    item = "<item><title>{0}</title><guid>{0}</guid></item>"
    feeds = [
        f"<rss><channel>{''.join(map(item.format, ids))}</channel></rss>" for ids in ("ab", "abc")
    ]
    h.http.get("https://news.example/rss", *feeds)
    h.llm.when("Summarise:\nc", "one item")
    h.llm.when("Summarise:\na\nb", "two items")
    await h.advance("30m")
    assert h["reporter"].state["report"] == ["one item", 1, 1, None]
    assert [event.name for event in h.emitted] == ["data_collected", "analysis_complete"] * 2
    assert h.state["seen"] == {"a", "b", "c"}
    assert type(h.emitted[1].data["summary"]) is str
