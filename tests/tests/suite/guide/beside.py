"""Agents beside the one that runs the table: each shows what takes an agent of its own."""

from __future__ import annotations

from openclaw import Agent, ConfigError, Event, Forbidden, LLMNotConfigured, Schedule, on


def say(file: str, line: str) -> None:
    with open(file, "a") as lines:
        lines.write(f"{line}\n")


class Listener(Agent):
    @on("told")
    async def count(self, event: Event) -> None:
        assert event.name == "told"
        assert event.source == "guide"
        assert event.id
        assert event.time
        assert event.attempt >= 1
        heard = await self.state.get("numbers", set())
        if event.data["n"] in heard:
            say("beside", f"heard twice {event.data['n']}")
        await self.state.set("numbers", heard | {event.data["n"]})
        await self.state.set("heard", len(heard) + 1)

    @on("told.*")
    async def one_token_more(self, event: Event) -> None:
        say("beside", f"a filter of two tokens matched {event.name}")


class Failing(Agent):
    async def setup(self) -> None:
        say("hooks", "setup")

    async def run(self) -> None:
        raise ValueError("as always")

    async def on_error(self, exc: BaseException) -> None:
        say("hooks", f"on_error {type(exc).__name__}")

    async def teardown(self) -> None:
        say("hooks", "teardown")


class Hourly(Agent):
    schedule = Schedule.every(hours=1)

    async def run(self) -> None:
        say("starts", "hourly")


class Daily(Agent):
    schedule = Schedule.daily(hour=3, minute=0, timezone="UTC")

    async def run(self) -> None:
        say("starts", "daily")


class Unready(Agent):
    async def readiness_check(self) -> bool:
        raise OSError("no database")

    @on("told")
    async def never(self, event: Event) -> None:
        say("unready", event.id)


class Stranger(Agent):
    async def run(self) -> None:
        try:
            await self.shared_state.get("level")
        except Forbidden:
            say("stranger", "forbidden")
        try:
            await self.slack.send("x")
        except ConfigError:
            say("stranger", "no slack")
        try:
            await self.llm.complete("x")
        except LLMNotConfigured:
            say("stranger", "no llm")


class Misnamed(Agent):
    name = "somebody-else"
