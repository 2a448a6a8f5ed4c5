"""Language models, by way of the supervisor's gateway, which holds keys, routes and budgets.

An `LLMRouter` made in code travels with each request and can only lower what the fleet file
allows. Retries and fallbacks happen in the gateway.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import os
import time
from typing import Any

from ._completion import Completion, Usage
from ._errors import (
    BudgetExceededError,
    ConnectError,
    HttpTimeout,
    LLMError,
    LLMNotConfigured,
    LLMParseError,
    RateLimitError,
    TimeoutError,
)
from ._work import current, trace_headers

__all__ = [
    "Budget",
    "BudgetExceededError",
    "Completion",
    "LLMError",
    "LLMNotConfigured",
    "LLMParseError",
    "LLMRouter",
    "RateLimitError",
    "TimeoutError",
    "Usage",
]

# The gateway retries and falls back by itself; this much on top covers its answering.
GRACE_SECONDS = 10.0
# How long a gateway that refuses connections is waited for: a restart of the supervisor.
RESTART_SECONDS = 10.0
_DEFAULT_MODEL = "default"


class Budget:
    """Limits in money; checked by the supervisor before a call is made."""

    def __init__(
        self,
        daily_limit_usd: float | None = None,
        monthly_limit_usd: float | None = None,
        alert_at_pct: float = 80,
    ) -> None:
        for name, limit in (("daily", daily_limit_usd), ("monthly", monthly_limit_usd)):
            if limit is not None and limit < 0:
                raise ValueError(f"a {name} limit of {limit} USD is below zero")
        if not 0 < alert_at_pct <= 100:
            raise ValueError("alert_at_pct is above 0 and at most 100")
        self.daily_limit_usd = daily_limit_usd
        self.monthly_limit_usd = monthly_limit_usd
        self.alert_at_pct = alert_at_pct

    def declared(self) -> dict[str, Any]:
        """Return the form the protocol knows."""
        return dict(vars(self))


class LLMRouter:
    """Which models to ask, in what order, within what budget."""

    def __init__(
        self,
        primary: str | None = None,
        fallback: list[str] | tuple[str, ...] = (),
        budget: Budget | None = None,
        retry_on: list[type[BaseException]] | tuple[type[BaseException], ...] | None = None,
        max_retries: int | None = None,
        timeout: float | None = None,
    ) -> None:
        self.primary = primary
        self.fallback = list(fallback)
        self.budget = budget
        self.retry_on = list(retry_on) if retry_on is not None else None
        self.max_retries = max_retries
        self.timeout = timeout
        self._http: Any = None

    async def complete(
        self,
        prompt: str | None = None,
        *,
        messages: list[dict[str, Any]] | None = None,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        **options: Any,
    ) -> Completion:
        """Ask a model; `prompt` for one question, `messages` for a conversation.

        Further options go to the provider as they are (`tools`, `response_format`, `seed`, …).
        """
        if (prompt is None) == (messages is None):
            raise TypeError("complete() takes either a prompt or messages")
        request: dict[str, Any] = {
            "model": model or self.primary or _DEFAULT_MODEL,
            "messages": messages or [{"role": "user", "content": str(prompt)}],
        }
        for name, value in (("temperature", temperature), ("max_tokens", max_tokens)):
            if value is not None:
                request[name] = value
        request.update(options)
        begun = time.monotonic()
        scope = current.get()
        fake = scope.agent.__dict__.get("_completions") if scope else None
        answer, headers = await (fake(request) if fake else self._ask(request))
        if scope:
            scope.agent._witness("llm")
        return _completion(answer, headers, request, round((time.monotonic() - begun) * 1000))

    def declared(self) -> dict[str, Any]:
        """Return the form the protocol knows; what was not given is left to the fleet file."""
        form: dict[str, Any] = {}
        if self.fallback:
            form["fallback"] = self.fallback
        if self.budget:
            form["budget"] = self.budget.declared()
        if self.retry_on is not None:
            form["retry_on"] = sorted({_reason(kind) for kind in self.retry_on})
        if self.max_retries is not None:
            form["max_retries"] = self.max_retries
        if self.timeout is not None:
            form["timeout_ms"] = round(self.timeout * 1000)
        return form

    async def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        base = os.environ.get("OPENCLAW_LLM_URL")
        if not base:
            raise LLMNotConfigured(
                "no llm configured: set `llm:` in openclaw.yaml to let this agent use models"
            )
        headers = {
            "Authorization": f"Bearer {os.environ.get('OPENCLAW_TOKEN', '')}",
            **(trace_headers() or {}),
        }
        if declared := self.declared():
            headers["x-openclaw-router"] = json.dumps(declared)
        response = await self._post(f"{base.rstrip('/')}/v1/chat/completions", headers, request)
        if response.status_code >= 400:
            raise _error(response)
        try:
            return response.json(), response.headers
        except ValueError as error:
            raise LLMError("the gateway's answer is not JSON") from error

    async def _post(self, url: str, headers: dict[str, str], request: dict[str, Any]) -> Any:
        if self._http is None:
            from ._http import HttpClient

            self._http = HttpClient()
        targets = 1 + len(self.fallback)
        tries = 1 + (self.max_retries if self.max_retries is not None else 3)
        limit = (self.timeout or 60.0) * targets * tries + GRACE_SECONDS
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                return await self._http.post(url, headers=headers, json=request, timeout=limit)
            except HttpTimeout as error:
                raise TimeoutError("the gateway did not answer in time") from error
            except ConnectError as error:
                # Only a refused connection is certain not to have cost anything yet.
                refused = isinstance(error.__cause__, ConnectionRefusedError)
                if not refused or time.monotonic() > deadline:
                    raise LLMError(f"the gateway cannot be reached: {error}") from error
                await asyncio.sleep(0.1)


def _completion(
    answer: dict[str, Any], headers: dict[str, str], request: dict[str, Any], latency_ms: int
) -> Completion:
    try:
        choice = answer["choices"][0]
        content = choice["message"].get("content") or ""
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise LLMError("the gateway's answer holds no choice") from error
    usage = answer.get("usage") or {}
    prompt_tokens = int(usage.get("prompt_tokens") or 0)
    completion_tokens = int(usage.get("completion_tokens") or 0)
    cost = usage.get("cost_usd") or headers.get("x-openclaw-cost-usd") or 0.0
    return Completion(
        _text(content),
        model=headers.get("x-openclaw-model") or answer.get("model") or request["model"],
        usage=Usage(
            prompt_tokens,
            completion_tokens,
            int(usage.get("total_tokens") or prompt_tokens + completion_tokens),
            float(cost),
        ),
        latency_ms=latency_ms,
        finish_reason=choice.get("finish_reason"),
    )


def _text(content: Any) -> str:
    """Return the text of a content that may come in parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))


def _error(response: Any) -> LLMError:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    inner = problem.get("error", problem) if isinstance(problem, dict) else {}
    inner = inner if isinstance(inner, dict) else {"message": str(inner)}
    message = str(inner.get("message") or f"the gateway answered {response.status_code}")
    code = inner.get("code")
    if code == "llm_not_configured":
        return LLMNotConfigured(message)
    if response.status_code == 402 or code == "budget_exceeded":
        return BudgetExceededError(message)
    if response.status_code == 429:
        return RateLimitError(message)
    if response.status_code in (408, 504):
        return TimeoutError(message)
    return LLMError(message)


def _reason(kind: type[BaseException]) -> str:
    if issubclass(kind, RateLimitError):
        return "rate_limited"
    if issubclass(kind, (builtins.TimeoutError, asyncio.TimeoutError)):
        return "timeout"
    if issubclass(kind, (ConnectionError, OSError)):
        return "connect"
    return "error"
