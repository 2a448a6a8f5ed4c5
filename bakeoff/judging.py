"""Runs every trial with every supervisor and prints the table of verdicts."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bakeoff import peers, trials
from bakeoff.peers.base import Peer
from bakeoff.peers.openclaw import OpenClaw
from bakeoff.room import LeftoverProcessError
from bakeoff.tables import markdown, plain
from bakeoff.tools import Tools
from bakeoff.trials.outcome import Outcome, Trial, Verdict

Results = dict[tuple[str, type[Peer]], Outcome]


def run(
    tools: Tools,
    versions: Mapping[type[Peer], str],
    reasons: Mapping[type[Peer], str],
    keys: str,
    json_file: Path | None,
) -> int:
    """Exit code 1 when our own column has a fail."""
    chosen = _chosen(keys)
    columns = [peer for peer in peers.JUDGED if peer in versions or peer in reasons]
    results: Results = {}
    for peer in columns:
        for trial in chosen:
            reason = reasons.get(peer)
            skipped = Outcome(Verdict.SKIPPED, reason) if reason is not None else None
            results[trial.key, peer] = skipped or _judge(trial, peer, tools)
    header = ["trial", *(_title(peer, versions) for peer in columns)]
    rows = [[trial.title, *(_cell(results[trial.key, peer]) for peer in columns)] for trial in chosen]
    print(markdown(header, rows), "\n")
    print(plain(header, rows))
    for peer, reason in reasons.items():
        print(f"\nskipped: {peer.name}: {reason}")
    if json_file is not None:
        json_file.write_text(json.dumps(_data(results, versions), indent=2) + "\n")
    return 1 if any(failed(results, trial, OpenClaw) for trial in chosen) else 0


def failed(results: Results, trial: Trial, peer: type[Peer]) -> bool:
    """Whether this cell says so; a supervisor that did not run has no cell."""
    outcome = results.get((trial.key, peer))
    return outcome is not None and outcome.verdict is Verdict.FAIL


def _judge(trial: Trial, peer: type[Peer], tools: Tools) -> Outcome:
    start = time.monotonic()
    try:
        outcome = trial.run(peer, tools)
    except LeftoverProcessError:
        # Later trials would be measured beside the leftovers.
        raise
    except Exception as error:
        outcome = Outcome.of(False, f"could not be judged: {error}")
    took = time.monotonic() - start
    line = f"{peer.name:12} {trial.key:16} {outcome.verdict.value:5} {outcome.evidence} [{took:.0f} s]"
    print(line, file=sys.stderr, flush=True)
    return outcome


def _chosen(keys: str) -> Sequence[Trial]:
    wanted = set(filter(None, keys.split(",")))
    unknown = wanted - {trial.key for trial in trials.ALL}
    if unknown:
        known = ", ".join(trial.key for trial in trials.ALL)
        raise SystemExit(f"no such trial: {', '.join(sorted(unknown))}; there are {known}")
    return [trial for trial in trials.ALL if not wanted or trial.key in wanted]


def _title(peer: type[Peer], versions: Mapping[type[Peer], str]) -> str:
    return f"{peer.name} {versions.get(peer, '')}".strip()


def _cell(outcome: Outcome) -> str:
    word: str = outcome.verdict.value
    # The reason of a skip is the same in every row: it stands once, below the table.
    return word if outcome.verdict is Verdict.SKIPPED else f"{word}: {outcome.evidence}"


def _data(results: Results, versions: Mapping[type[Peer], str]) -> list[dict[str, str]]:
    return [
        {
            "trial": key,
            "supervisor": peer.name,
            "version": versions.get(peer, ""),
            "verdict": outcome.verdict.value,
            "evidence": outcome.evidence,
        }
        for (key, peer), outcome in results.items()
    ]
