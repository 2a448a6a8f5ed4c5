"""An agent that looks after others; the fleet file has to grant it `fleet`."""

from openclaw import Agent, Event, Refused, Schedule, on


class Caretaker(Agent):
    """Adds a helper when work piles up, takes it away again, and restarts what is stuck."""

    schedule = Schedule.every(minutes=1)

    async def run(self) -> list[str]:
        done = []
        for agent in await self.fleet.agents():
            rule = self.config.rules.get(agent["name"])
            if rule is None:
                continue
            helper, limit = rule["helper"], rule["pending"]
            try:
                if agent["pending_events"] > limit:
                    await self.fleet.start(helper, f"{agent['name']} is behind")
                    done.append(f"started {helper}")
                elif agent["pending_events"] == 0:
                    await self.fleet.stop(helper, f"{agent['name']} has caught up")
                    done.append(f"stopped {helper}")
            except Refused as refusal:
                self.logger.warning("%s: %s", helper, refusal)
        return done

    @on("agent.failed", source="openclaw")
    async def look_into(self, event: Event) -> None:
        name = event.data["agent"]
        failures = await self.state.update(f"failures:{name}", lambda n: n + 1, 0, ttl="1h")
        if failures <= self.config.get("restarts_per_hour", 3):
            await self.fleet.restart(name, f"failure {failures} within an hour")
        else:
            await self.alert(f"{name} keeps failing", severity="critical", dedup_key=name)
