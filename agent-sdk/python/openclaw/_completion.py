"""What a language model answered: text that knows its cost."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from ._errors import LLMParseError

# Enough to see what the model said instead of JSON.
SHOWN_CHARACTERS = 200
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)


class Usage(NamedTuple):
    """Tokens and money of one call."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cost_usd: float = 0.0


class Completion(str):
    """The text of an answer, which is also what it becomes in an event or in the state."""

    model: str
    usage: Usage
    latency_ms: int
    finish_reason: str | None

    def __new__(
        cls,
        text: str,
        *,
        model: str = "",
        usage: Usage | None = None,
        latency_ms: int = 0,
        finish_reason: str | None = None,
    ) -> Completion:
        """Make a text with what is known about its making."""
        self = super().__new__(cls, text)
        self.model = model
        self.usage = usage or Usage()
        self.latency_ms = latency_ms
        self.finish_reason = finish_reason
        return self

    @property
    def text(self) -> str:
        """The answer as plain text."""
        return str(self)

    @property
    def parsed(self) -> Any:
        """The JSON in the answer, without code fences and prose around it."""
        return parse_json(str(self))

    def __str__(self) -> str:
        return "".join(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)


def parse_json(text: str) -> Any:
    """Return the JSON in a model's answer: all of it, a fenced block, or the widest part."""
    for candidate in (text, *_FENCE.findall(text)):
        try:
            return json.loads(candidate)
        except ValueError:
            continue
    decoder = json.JSONDecoder()
    # Prose may hold a stray bracket, so every place where JSON could begin is tried in turn.
    position = _next_bracket(text, 0)
    best: tuple[int, Any] | None = None
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError:
            position = _next_bracket(text, position + 1)
            continue
        if best is None or end - position > best[0]:
            best = (end - position, value)
        position = _next_bracket(text, end)
    if best is None:
        shown = text[:SHOWN_CHARACTERS] + ("…" if len(text) > SHOWN_CHARACTERS else "")
        raise LLMParseError(f"the answer holds no JSON; it begins: {shown!r}")
    return best[1]


def _next_bracket(text: str, start: int) -> int:
    places = [place for place in (text.find("{", start), text.find("[", start)) if place >= 0]
    return min(places, default=-1)
