"""An agent that looks after others; the fleet file has to say which ones it manages."""

from openclaw import Agent, Event, Refused, Schedule, on


class Caretaker(Agent):
    """Pauses the source of an agent that is behind, and restarts what fails."""

    schedule = Schedule.every(seconds=5)

    async def run(self) -> list[str]:
        fleet = {agent["name"]: agent for agent in await self.fleet.agents()}
        done = []
        for name, rule in self.config.rules.items():
            source, pending = rule["source"], fleet[name]["pending_events"]
            paused = fleet[source]["phase"] == "paused"
            try:
                if pending >= rule["pause_at"] and not paused:
                    await self.fleet.pause(source, f"{name} has {pending} events to do")
                    done.append(f"paused {source}")
                elif pending <= rule["resume_at"] and paused:
                    await self.fleet.resume(source, f"{name} has caught up")
                    done.append(f"resumed {source}")
            except Refused as refusal:
                # Somebody else is at it, for example a person; the next run looks again.
                self.logger.warning("%s: %s", source, refusal)
        return done

    @on("agent.failed", source="openclaw")
    async def look_into(self, event: Event) -> None:
        name = event.data["agent"]
        failures = await self.state.update(f"failures:{name}", lambda n: n + 1, 0, ttl="1h")
        if failures <= self.config.get("restarts_per_hour", 3):
            await self.fleet.restart(name, f"failure {failures} within an hour")
        else:
            await self.alert(f"{name} keeps failing", severity="critical", dedup_key=name)
