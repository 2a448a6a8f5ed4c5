"""Calls to language models: what the supervisor adds to them, beside LiteLLM and a bare proxy.

`python benches/models.py [--clawctl PATH] [--programs target/release] [--litellm PATH]`, once
`clawctl`, `fakellm` and `model-load` are built for release; `scripts/bench models` does all of it.
The provider is a program here that answers at once. All ways to it take turns, in one run. It
fails where a target is missed; another program that works beside it is enough for that. Targets of
time were set on a machine where the bare proxy took 21 µs of a processor for a call, and grow with
what it takes here.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fleet import Fleet, processor_time, pss, row

ROUNDS = 3
BARE_PROXY = 21
TOKENS = 256

AGENT = """
import json, os, time
with open("told.new", "w") as file:
    json.dump([os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]], file)
os.rename("told.new", "told.json")
time.sleep(100000)
"""


@dataclass
class Way:
    """One way to the provider, and the process that is in it."""

    name: str
    url: str
    token: str = "none"
    pid: int | None = None
    rates: tuple[int, ...] = (0,)
    idle: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.idle = pss(self.pid) if self.pid else 0.0


@dataclass
class Figures:
    p50: float
    p99: float
    first: float
    per_second: float
    processor: float
    """Microseconds of the process in the way, for each call."""


def load(program: Path, way: Way, model: str, connections: int, rate: int, count: int) -> Figures:
    words = [way.url + "/chat/completions", way.token, model, connections, rate, count]
    more = ["stream"] if model == "stream" else []
    before = used(way.pid)
    command: list[str | Path] = [program, "call", *map(str, words), *more]
    said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    spent = (used(way.pid) - before) / said["count"] / 1e3
    return Figures(
        said["p50_ms"], said["p99_ms"], said["first_p50_ms"], said["count"] / said["seconds"], spent
    )


def used(pid: int | None) -> int:
    return sum(processor_time(pid).values()) if pid else 0


@contextmanager
def program(command: list[str | Path], **more: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def supervised(clawctl: Path, provider: str) -> Iterator[Way]:
    models = ", ".join(
        f"{{name: {name}, id: {name}, input: 1, output: 2, max_output: 1000, context: 100000}}"
        for name in ("call", "stream")
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "agent.py").write_text(AGENT)
        agents = (
            "  bench: {command: [python3, agent.py], sandbox: {mode: none}}\n"
            "llm:\n  providers:\n"
            f"    fake: {{kind: openai, base_url: {provider}, api_key: sk, models: [{models}]}}\n"
            "  budgets: {global: {daily_limit_usd: 100000, monthly_limit_usd: 1000000},"
            " per_agent: {bench: {daily_limit_usd: 100000}}}\n"
        )
        told = folder / "told.json"
        with Fleet(clawctl, folder, agents) as fleet:
            fleet.await_that("the agent has its environment", told.exists)
            url, token = json.loads(told.read_text())
            time.sleep(2)
            yield Way("supervisor", url, token, fleet.process.pid, (0, 50, 1000))


@contextmanager
def litellm(path: Path, provider: str, port: int) -> Iterator[Way]:
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "config.yaml"
        models = "".join(
            f"  - model_name: {name}\n    litellm_params: {{model: openai/{name}, "
            f"api_base: {provider}/v1, api_key: sk}}\n"
            for name in ("call", "stream")
        )
        settings = "general_settings: {master_key: sk-bench}\n"
        config.write_text(f"model_list:\n{models}{settings}")
        command: list[str | Path] = [path, "--config", config, "--port", str(port)]
        quiet = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        silent = subprocess.DEVNULL
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1"], env=quiet, stdout=silent, stderr=silent
        )
        try:
            await_answer(f"http://127.0.0.1:{port}/health/liveliness", process)
            time.sleep(2)
            url = f"http://127.0.0.1:{port}/v1"
            yield Way("LiteLLM", url, "sk-bench", process.pid, (0, 50))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise SystemExit(f"{url} does not answer")


def scripted(provider: str) -> None:
    """Streams have as many tokens as are counted; calls have sixteen."""
    body = {"model": "stream", "behaviours": [{"answer_tokens": TOKENS}]}
    request = urllib.request.Request(provider + "/_script", json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    urllib.request.urlopen(request, timeout=10).close()


def median(rounds: list[Figures]) -> Figures:
    def of(name: str) -> float:
        return float(statistics.median(getattr(figures, name) for figures in rounds))

    return Figures(of("p50"), of("p99"), of("first"), of("per_second"), of("processor"))


@dataclass
class Target:
    """A figure of the supervisor that the design promises, and what it came to."""

    name: str
    most: float
    unit: str
    found: float

    def most_here(self, slower: float) -> float:
        return self.most if self.unit == "MiB" else self.most * slower

    def holds(self, slower: float) -> bool:
        return self.found <= self.most_here(slower)

    def said(self, slower: float) -> str:
        verdict = "holds" if self.holds(slower) else "MISSED"
        most = self.most_here(slower)
        there = "" if most == self.most else f" ({self.most:g} there)"
        return f"{self.found:8.2f} {self.unit}, at most {most:.3g}{there}: {verdict}"


def targets_of_calls(rate: int, figures: dict[str, Figures]) -> list[Target]:
    direct, ours = figures["direct"], figures["supervisor"]
    if rate:
        return [
            Target(f"added at {rate} a second, p50", 0.5, "ms", ours.p50 - direct.p50),
            Target(f"added at {rate} a second, p99", 3, "ms", ours.p99 - direct.p99),
        ]
    return [Target("processor for a call, as many as go", 150, "µs", ours.processor)]


def measured(
    programs: Path, ways: list[Way], model: str, connections: int, rate: int
) -> dict[str, Figures]:
    rounds: dict[str, list[Figures]] = {way.name: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            slow = way.name == "LiteLLM"
            count = rate * 8 or (400 if slow else 8000)
            if model == "stream":
                count = 32 if slow else 320
            tool = programs / "model-load"
            rounds[way.name].append(load(tool, way, model, connections, rate, count))
    medians = {name: median(figures) for name, figures in rounds.items()}
    direct = medians["direct"]
    for way in ways:
        figures = medians[way.name]
        if model == "stream":
            cost = f"{figures.processor / TOKENS:6.1f} µs of a processor a chunk"
            added = f"first byte p50 {figures.first - direct.first:+7.3f} ms"
        else:
            cost = f"{figures.processor:7.0f} µs of a processor a call"
            added = (
                f"p50 {figures.p50 - direct.p50:+7.3f} ms  p99 {figures.p99 - direct.p99:+7.3f} ms"
            )
        row(f"  {way.name}", f"{added}  {cost if way.pid else '':34} {figures.per_second:7.0f}/s")
    return medians


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).parents[3]
    parser.add_argument("--clawctl", type=Path, default=root / "target/release/clawctl")
    parser.add_argument("--programs", type=Path, default=root / "target/release")
    parser.add_argument("--litellm", type=Path, help="the program of that name")
    parser.add_argument("--port", type=int, default=4399, help="where LiteLLM is to listen")
    options = parser.parse_args()
    programs = options.programs.resolve()
    targets: list[Target] = []
    slower = 1.0
    with ExitStack() as stack:
        fake = stack.enter_context(program([programs / "fakellm", "127.0.0.1:0"]))
        assert fake.stdout
        provider = fake.stdout.readline().strip().rstrip("/")
        scripted(provider)
        address = provider.removeprefix("http://")
        bare = stack.enter_context(program([programs / "model-load", "pass", address]))
        assert bare.stdout
        ways = [
            Way("direct", provider + "/v1", rates=(0, 50, 1000)),
            Way(
                "bare proxy",
                f"http://{bare.stdout.readline().strip()}/v1",
                pid=bare.pid,
                rates=(0, 50, 1000),
            ),
            stack.enter_context(supervised(options.clawctl.resolve(), provider)),
        ]
        if options.litellm:
            peer = litellm(options.litellm.resolve(), provider, options.port)
            ways.append(stack.enter_context(peer))
        else:
            print("SKIP LiteLLM: --litellm names no program")
        for connections, rate in ((1, 0), (4, 50), (32, 1000), (32, 0)):
            pace = f"{rate} calls a second" if rate else "each one after the other"
            print(f"over {connections} connections, {pace}; added to a direct call")
            able = [way for way in ways if rate in way.rates]
            figures = measured(programs, able, "call", connections, rate)
            if connections == 32:
                targets += targets_of_calls(rate, figures)
            if connections == 32 and not rate:
                slower = max(1, figures["bare proxy"].processor / BARE_PROXY)
        print(f"streams of {TOKENS} chunks over 8 connections")
        streamed = measured(programs, ways, "stream", 8, 0)["supervisor"]
        targets.append(Target("processor for a chunk", 15, "µs", streamed.processor / TOKENS))
        print("memory in use after it")
        for way in ways:
            if way.pid:
                now = pss(way.pid)
                row(f"  {way.name}", f"{now:.0f} MiB, {now - way.idle:.0f} MiB more than at rest")
                if way.name == "supervisor":
                    targets.append(Target("memory, over that at rest", 25, "MiB", now - way.idle))
    print(f"targets, on a machine {slower:.1f} times as slow as where they were set")
    for target in targets:
        row(f"  {target.name}", target.said(slower))
    return 0 if all(target.holds(slower) for target in targets) else 1


if __name__ == "__main__":
    raise SystemExit(main())
