"""The language model of a harness: it says what it is told to say."""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any

from .._errors import LLMError

# About four characters of English are a token; a test that cares gives its own usage.
CHARACTERS_PER_TOKEN = 4


class LLMScript:
    """Answers in order, or by what the prompt says."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self._script: deque[tuple[Any, dict[str, Any]]] = deque()
        self._rules: list[tuple[str | re.Pattern[str], Any, dict[str, Any]]] = []

    def answer(self, *answers: Any, **usage: Any) -> None:
        """Give these answers, one for each call: text, anything as JSON, an exception to raise.

        `model=`, `prompt_tokens=`, `completion_tokens=`, `cost_usd=` go with each.
        """
        self._script.extend((answer, usage) for answer in answers)

    def when(self, prompt: str | re.Pattern[str], answer: Any, **usage: Any) -> None:
        """Give this answer whenever the prompt holds a text; a function gets the prompt."""
        self._rules.insert(0, (prompt, answer, usage))

    @property
    def prompts(self) -> list[str]:
        """What was asked, as text."""
        return [_prompt(request) for request in self.requests]

    async def complete(self, request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Stand in for the gateway."""
        self.requests.append(request)
        prompt = _prompt(request)
        answer, usage = self._find(prompt)
        if callable(answer) and not isinstance(answer, type):
            answer = answer(prompt)
        if isinstance(answer, BaseException) or (
            isinstance(answer, type) and issubclass(answer, BaseException)
        ):
            raise answer
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return _wire(text, request, prompt, usage), {}

    def _find(self, prompt: str) -> tuple[Any, dict[str, Any]]:
        for wanted, answer, usage in self._rules:
            held = wanted in prompt if isinstance(wanted, str) else wanted.search(prompt)
            if held:
                return answer, usage
        if not self._script:
            raise LLMError(f"the harness has no answer to {prompt[:80]!r}; use h.llm.answer(…)")
        return self._script.popleft()


def _wire(text: str, request: dict[str, Any], prompt: str, usage: dict[str, Any]) -> dict[str, Any]:
    asked = usage.get("prompt_tokens", max(1, len(prompt) // CHARACTERS_PER_TOKEN))
    said = usage.get("completion_tokens", max(1, len(text) // CHARACTERS_PER_TOKEN))
    return {
        "model": usage.get("model", request["model"]),
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        ],
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": said,
            "total_tokens": asked + said,
            "cost_usd": usage.get("cost_usd", 0.0),
        },
    }


def _prompt(request: dict[str, Any]) -> str:
    contents = (message.get("content") for message in request["messages"])
    return "\n".join(text if isinstance(text, str) else json.dumps(text) for text in contents)
