"""Second of four: finds out how bad each item is, by words or by a language model."""

import json
from typing import Any

from openclaw import Agent, Event, LLMError, on

WORDS = {"outage": 9, "breach": 9, "down": 6, "delay": 4}


class Analyse(Agent):
    """Emits `items_analysed`: each item with a score from 0 to 10."""

    @on("items_collected")
    async def analyse(self, event: Event) -> None:
        scored = [{**item, "score": await self.score(item)} for item in event.data["items"]]
        await self.state.update("analysed", lambda count: count + len(scored), 0)
        await self.emit("items_analysed", {"items": scored})

    async def score(self, item: dict[str, Any]) -> int:
        """Ask the model where one is configured; words will do where it is of no help."""
        if self.config.get("use_llm"):
            try:
                question = (
                    f'How severe is this from 0 to 10? Answer {{"score": n}}.\n{item["title"]}'
                )
                answer = await self.llm.complete(question, temperature=0, max_tokens=20)
                return int(answer.parsed["score"])
            except (LLMError, KeyError, TypeError, ValueError) as error:
                self.logger.warning("no score from the model: %s", error)
        text = json.dumps(item).lower()
        return max((score for word, score in WORDS.items() if word in text), default=1)
