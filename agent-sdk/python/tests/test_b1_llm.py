from __future__ import annotations

import asyncio
import json
from typing import Any

import openclaw
import pytest
from openclaw import Agent, LLMNotConfigured, LLMParseError
from openclaw.llm import (
    Budget,
    BudgetExceededError,
    Completion,
    LLMError,
    LLMRouter,
    RateLimitError,
    TimeoutError,
)
from web import Web, ok


def chat(text: str, **usage: Any) -> bytes:
    """Return an answer as the gateway gives it."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15, **usage},
    }
    return ok(json.dumps(body).encode(), headers="x-openclaw-model: gpt-4o\r\n")


async def test_complete_takes_a_prompt_or_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Web(chat("hello", cost_usd=0.0125)) as gateway:
        monkeypatch.setenv("OPENCLAW_LLM_URL", gateway.url)
        monkeypatch.setenv("OPENCLAW_TOKEN", "tok_1")
        router = LLMRouter()
        first = await router.complete("say hello")
        messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
        await router.complete(messages=messages, temperature=0.1, max_tokens=50, seed=7)
        await router._http.close()
    assert gateway.heads[0].startswith("POST /v1/chat/completions HTTP/1.1")
    assert "Authorization: Bearer tok_1" in gateway.heads[0].replace(
        "authorization", "Authorization"
    )
    assert json.loads(gateway.bodies[0]) == {
        "model": "default",
        "messages": [{"role": "user", "content": "say hello"}],
    }
    assert json.loads(gateway.bodies[1]) == {
        "model": "default",
        "messages": messages,
        "temperature": 0.1,
        "max_tokens": 50,
        "seed": 7,
    }
    assert isinstance(first, str)
    assert first == "hello" == first.text
    assert type(first.text) is str
    assert first.model == "gpt-4o"
    assert (first.usage.total_tokens, first.usage.prompt_tokens) == (15, 12)
    assert f"{first.usage.cost_usd:.4f}" == "0.0125"
    assert type(first.latency_ms) is int
    assert json.dumps({"summary": first}) == '{"summary": "hello"}'
    with pytest.raises(TypeError):
        await router.complete()


@pytest.mark.parametrize(
    ("usage", "header", "cost"),
    [
        ({}, "", 0.0),
        ({"cost_usd": None}, "", 0.0),
        ({"cost_usd": 0}, "", 0.0),
        ({"cost_usd": 2}, "", 2.0),
        ({}, "x-openclaw-cost-usd: 0.5\r\n", 0.5),
    ],
)
async def test_cost_is_always_a_float_and_latency_a_whole_number(
    monkeypatch: pytest.MonkeyPatch, usage: dict[str, Any], header: str, cost: float
) -> None:
    answer = chat("x", **usage).replace(b"x-openclaw-model", header.encode() + b"x-openclaw-model")
    async with Web(answer) as gateway:
        monkeypatch.setenv("OPENCLAW_LLM_URL", gateway.url)
        router = LLMRouter()
        completion = await router.complete("x")
        await router._http.close()
    assert type(completion.usage.cost_usd) is float
    assert (completion.usage.cost_usd, f"{completion.usage.cost_usd:.4f}") == (cost, f"{cost:.4f}")
    assert f"{completion.latency_ms:d}".isdigit()
    assert type(Completion("x").usage.cost_usd) is float


async def test_without_a_gateway_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENCLAW_LLM_URL", raising=False)
    with pytest.raises(LLMNotConfigured, match="no llm configured") as caught:
        await LLMRouter().complete("x")
    assert isinstance(caught.value, LLMError)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('```json\n[{"ip": "1.2.3.4"}]\n```', [{"ip": "1.2.3.4"}]),
        (
            'Here are the threats [see below]:\n\n[{"ip": "1"}, {"ip": "2"}]\nStay safe!',
            [{"ip": "1"}, {"ip": "2"}],
        ),
        ("```\n{}\n```", {}),
        ("none: []", []),
        ('{not json} but {"b": [1, {"c": "}"}]} here', {"b": [1, {"c": "}"}]}),
    ],
)
def test_parsed_finds_the_json_in_the_text(text: str, value: Any) -> None:
    assert Completion(text).parsed == value


def test_parsed_without_json_shows_how_the_text_begins() -> None:
    with pytest.raises(LLMParseError, match="I cannot help") as caught:
        Completion("I cannot help with that. " * 50).parsed  # noqa: B018
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 300


async def test_a_router_is_made_at_import_time_and_travels_with_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = LLMRouter(
        primary="gpt-4o",
        fallback=["claude-3.5-sonnet", "llama-3.1-70b"],
        budget=Budget(daily_limit_usd=50.0, monthly_limit_usd=1000.0, alert_at_pct=80),
        retry_on=[RateLimitError, TimeoutError],
        max_retries=3,
        timeout=30,
    )
    async with Web(chat("x")) as gateway:
        monkeypatch.setenv("OPENCLAW_LLM_URL", gateway.url)
        await router.complete("x")
        await router._http.close()
    [line] = [x for x in gateway.heads[0].split("\r\n") if x.startswith("x-openclaw-router: ")]
    assert json.loads(line.partition(": ")[2]) == {
        "fallback": ["claude-3.5-sonnet", "llama-3.1-70b"],
        "budget": {"daily_limit_usd": 50.0, "monthly_limit_usd": 1000.0, "alert_at_pct": 80},
        "retry_on": ["rate_limited", "timeout"],
        "max_retries": 3,
        "timeout_ms": 30_000,
    }
    assert json.loads(gateway.bodies[0])["model"] == "gpt-4o"


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (402, "budget_exceeded", BudgetExceededError),
        (429, "rate_limited", RateLimitError),
        (504, "provider_unavailable", TimeoutError),
        (502, "provider_unavailable", LLMError),
        (501, "llm_not_configured", LLMNotConfigured),
    ],
)
async def test_codes_become_exceptions(
    status: int, code: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"error": {"message": "so it is", "type": "x", "code": code}}).encode()
    async with Web(ok(body, status=f"{status} No")) as gateway:
        monkeypatch.setenv("OPENCLAW_LLM_URL", gateway.url)
        router = LLMRouter()
        with pytest.raises(error, match="so it is"):
            await router.complete("x")
        await router._http.close()
    assert len(gateway.heads) == 1


def test_errors_are_exported_from_both_places() -> None:
    for name in ("RateLimitError", "TimeoutError", "BudgetExceededError", "LLMError"):
        assert getattr(openclaw, name) is getattr(openclaw.llm, name)
    assert issubclass(TimeoutError, asyncio.TimeoutError) or issubclass(TimeoutError, OSError)


async def test_the_default_router_is_there_and_may_be_assigned(harness: Any) -> None:
    class Default(Agent):
        async def run(self) -> list[str]:
            first = await self.llm.complete("a")
            self.llm = LLMRouter(primary="gpt-4o")
            return [first, await self.llm.complete("b")]

    class Declared(Agent):
        llm = LLMRouter(primary="claude-3-haiku")

        async def run(self) -> str:
            return await self.llm.complete("c")

    h = harness(Default)
    h.llm.answer("first", "second")
    assert await h.run() == ["first", "second"]
    assert [r["model"] for r in h.llm.requests] == ["default", "gpt-4o"]
    h = harness(Declared)
    h.llm.when("c", lambda prompt: f"you said {prompt}", cost_usd=0.5)
    assert await h.run() == "you said c"


@pytest.mark.parametrize("limits", [{"daily_limit_usd": -1}, {"alert_at_pct": 0}])
def test_a_budget_that_is_none_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="zero|above"):
        Budget(**limits)
