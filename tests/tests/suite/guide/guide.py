"""Does in each run, on a real supervisor, all that the guide's programs do, and says of each row
of the table in docs/conformance.md whether it behaved."""

from __future__ import annotations

import os
import traceback
from typing import Any

from openclaw import (
    Agent,
    Alert,
    ConfigError,
    NotifierError,
    RateLimitError,
    Schedule,
    on,  # noqa: F401
)
from openclaw.llm import Budget, LLMParseError, LLMRouter, TimeoutError
from openclaw.tools import HttpClient, PagerDutyClient, SlackNotifier

# Seconds. On a machine that stands still for a while a request is late and not lost.
PATIENCE = 300


class Guide(Agent):
    name = "guide"
    # The fleet file says every second, and wins.
    schedule = Schedule.every(hours=1)

    async def setup(self) -> None:
        self.rounds = 0
        self.probed = {"live": 0, "ready": 0}
        self.site = self.config.site
        os.environ["OPENCLAW_LLM_URL"] = f"{self.site}/llm"
        os.environ["OPENCLAW_PAGERDUTY_URL"] = f"{self.site}/pagerduty"

    async def liveness_check(self) -> bool:
        self.probed["live"] += 1
        return True

    async def readiness_check(self) -> bool:
        self.probed["ready"] += 1
        return True

    async def run(self) -> None:
        self.rounds += 1
        for name in sorted(name for name in dir(self) if name.startswith("row_")):
            try:
                await getattr(self, name)()
            except Exception:
                outcome = "failed " + repr(traceback.format_exc())
            else:
                outcome = "ok"
            with open("rows", "a") as file:
                file.write(f"{name} {outcome}\n")

    async def row_alert(self) -> None:
        alert = Alert("web is down", "critical", {"url": self.site}, f"web-{self.rounds}")
        assert (alert.title, alert.severity, alert.dedup_key) == (
            "web is down",
            "critical",
            f"web-{self.rounds}",
        )
        await self.alert(alert)

    async def row_schedule(self) -> None:
        # One that is every so often also fires at start; that run may be cut off by a kill.
        kinds = ("start", "schedule") if self.rounds == 1 else ("schedule",)
        assert self.trigger.kind in kinds, self.trigger

    async def row_emit(self) -> None:
        # In the state first: who counts what was heard knows what was to be heard.
        await self.state.set("told", self.rounds)
        told = await self.emit("told", {"n": self.rounds})
        assert isinstance(told, str), told

    async def row_state(self) -> None:
        seen = await self.state.get("seen", set())
        assert seen == set(range(1, self.rounds)), (seen, self.rounds)
        await self.state.set("seen", seen | {self.rounds})
        first, second = await self.state.get("seen"), await self.state.get("seen")
        assert first == second
        assert first is not second
        default: list[int] = []
        fallback = await self.state.get("nothing", default)
        fallback.append(1)
        assert default == []
        count = await self.state.update("count", lambda count: count + 1, 0)
        assert count == self.rounds, (count, self.rounds)

    async def row_read_from(self) -> None:
        other = self.state.read_from("listener")
        assert isinstance(other.get("heard", 0), int)
        try:
            other["heard"] = 1  # type: ignore[index]
        except TypeError:
            pass
        else:
            raise AssertionError("a snapshot can be written")
        assert dict(self.state.read_from("nobody-of-that-name")) == {}

    async def row_shared_state(self) -> None:
        await self.shared_state.set("level", self.rounds)
        assert await self.shared_state.get("level") == self.rounds
        assert await self.shared_state.get("never") is None

    async def row_http(self) -> None:
        url = f"{self.site}/page?level!=debug&n={self.rounds}"
        response = await self.http.get(url, timeout=PATIENCE, headers={"X-Mark": "m"})
        said = response.json()
        assert (said["path"], said["mark"]) == (url.removeprefix(self.site), "m"), said
        said = (await self.http.post(f"{self.site}/post", json={"a": 1})).json()
        assert (said["method"], said["body"]) == ("POST", '{"a":1}'), said
        said = (await self.http.patch(f"{self.site}/patch", json=[])).json()
        assert said["method"] == "PATCH", said
        await self.http.close()
        self.http = HttpClient(timeout=PATIENCE)

    async def row_response(self) -> None:
        response = await self.http.get(f"{self.site}/missing")
        assert (response.status_code, response.ok) == (404, False)
        assert response.json() == {"reason": "nothing here"}
        assert response.text.encode() == response.content
        assert response.headers["content-type"] == "application/json"

    async def row_http_client(self) -> None:
        client = HttpClient(timeout=PATIENCE, retries=2, retry_delay=0.01)
        response = await client.get(f"{self.site}/flaky?n={self.rounds}")
        assert (response.status_code, response.json()) == (200, {"tries": 3}), response.text
        response = await client.post(f"{self.site}/flaky?post={self.rounds}")
        assert response.status_code == 503
        await client.close()

    async def row_slack_notifier(self) -> None:
        await SlackNotifier(webhook_url=f"{self.site}/slack-busy?n={self.rounds}").send("hello")
        try:
            await SlackNotifier(webhook_url=f"{self.site}/slack-broken").send("hello")
        except NotifierError:
            return
        raise AssertionError("an error of Slack does not raise")

    async def row_slack(self) -> None:
        await self.slack.send("from the config's webhook")

    async def row_pagerduty(self) -> None:
        client = PagerDutyClient(api_key="key")
        dedup = await client.trigger_incident(title="t", severity="critical", details={"a": 1})
        assert dedup == "dedup-key", dedup

    async def row_llm_complete(self) -> None:
        answer = await self.llm.complete("hello")
        assert '["default", "hello"]' in answer, answer
        messages = [{"role": "user", "content": "hi"}]
        answer = await self.llm.complete(messages=messages, temperature=0.1, max_tokens=5)
        assert '"hi"' in answer, answer

    async def row_llm_result(self) -> None:
        answer = await self.llm.complete("hello")
        assert isinstance(answer, str)
        assert answer.text == str(answer)
        assert answer.model == "model-1"
        assert answer.usage.total_tokens == 12
        assert f"{answer.usage.cost_usd:.4f} {answer.latency_ms:d}".startswith("0.0000 ")

    async def row_llm_parsed(self) -> None:
        assert (await self.llm.complete("hello")).parsed == ["default", "hello"]
        answer = await self.llm.complete("hello")
        broken = type(answer)("no JSON at all")
        try:
            broken.parsed  # noqa: B018
        except LLMParseError as error:
            assert "no JSON" in str(error)
        else:
            raise AssertionError("text without JSON is parsed")

    async def row_llm_router(self) -> None:
        router = LLMRouter(
            primary="gpt-4o",
            fallback=["claude"],
            budget=Budget(daily_limit_usd=5, monthly_limit_usd=50, alert_at_pct=80),
            retry_on=[RateLimitError, TimeoutError],
            max_retries=3,
            timeout=30,
        )
        sent = (await router.complete("hello")).parsed
        assert (sent["fallback"], sent["max_retries"], sent["timeout_ms"]) == (
            ["claude"],
            3,
            30_000,
        )
        assert sent["budget"]["daily_limit_usd"] == 5, sent

    async def row_llm_errors(self) -> None:
        router = LLMRouter(max_retries=0)
        try:
            await router.complete("too much")
        except RateLimitError:
            return
        raise AssertionError("429 is no RateLimitError")

    async def row_metrics(self) -> None:
        self.metrics.gauge("guide_round", self.rounds)
        self.metrics.counter("guide_rounds")
        self.metrics.histogram("guide_seconds", 0.1)

    async def row_logger(self) -> None:
        self.logger.info("round %d", self.rounds)
        self.logger.warning("still here")

    async def row_config(self) -> None:
        assert self.config.get("absent", 7) == 7
        assert self.config.targets[0]["name"] == "web"
        assert self.config["targets"][0]["name"] == "web"
        try:
            self.config.absent  # noqa: B018
        except ConfigError as error:
            assert isinstance(error, AttributeError)
            assert "agents.guide.config.absent" in str(error), error
        else:
            raise AssertionError("a missing key is no error")

    async def row_small_calls(self) -> None:
        assert self.now_iso().endswith("Z")
        first, second = self.generate_id(), self.generate_id()
        assert first < second
        assert self.event_loop_responsive() in (True, False)

    async def row_probes(self) -> None:
        # Probes come every 200 ms while a supervisor is there, and a second lies between runs.
        assert self.rounds < 5 or all(self.probed.values()), self.probed

    async def row_db(self) -> None:
        try:
            self.db  # type: ignore[attr-defined]  # noqa: B018
        except AttributeError:
            return
        raise AssertionError("self.db is there")

    async def row_parsers(self) -> None:
        feed = "<rss><channel><item><title>t</title><guid>g</guid></item></channel></rss>"
        [item] = self.parse_rss(feed)
        assert (item["id"], item["title"]) == ("g", "t"), item
        assert self.parse_cpu("250m") == 25.0

    async def row_own_methods(self) -> None:
        assert await self.fetch_data() == self.rounds

    async def fetch_data(self) -> Any:
        return self.rounds
