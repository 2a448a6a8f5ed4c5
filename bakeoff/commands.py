"""The command line: `trials` judges, `bench` measures, `install` only fills the cache."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bakeoff import judging, peers
from bakeoff.bench import report as bench
from bakeoff.peers.base import Peer
from bakeoff.peers.openclaw import OpenClaw
from bakeoff.tools import Tools, UnavailableError

CHILD_COUNTS = "100,1000"


def main(arguments: Sequence[str]) -> int:
    """Runs a subcommand and answers its exit code."""
    options = _parser().parse_args(arguments)
    # Both end the run through the cleanup of the room, also where a shell started us with INT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    OpenClaw.binary = options.clawctl.resolve()
    tools = Tools(options.cache)
    try:
        tools.child()
    except UnavailableError as error:
        say(f"cannot begin: {error}")
        return 1
    chosen = _chosen(peers.JUDGED if options.command == "trials" else peers.MEASURED, options)
    versions, reasons = _install(tools, chosen)
    if options.command == "trials":
        return judging.run(tools, versions, reasons, options.trial, options.json)
    if options.command == "bench":
        return bench.run(tools, versions, reasons, _settings(options), options.json)
    return 0


def say(message: str) -> None:
    """Progress goes to stderr: stdout is for the tables."""
    print(message, file=sys.stderr, flush=True)


def _install(
    tools: Tools, chosen: Sequence[type[Peer]]
) -> tuple[dict[type[Peer], str], dict[type[Peer], str]]:
    """Versions of those that are there, reasons for those that are not."""
    versions: dict[type[Peer], str] = {}
    reasons: dict[type[Peer], str] = {}
    for peer in chosen:
        try:
            versions[peer] = peer.install(tools)
            say(f"{peer.name} {versions[peer]}: ready")
        except UnavailableError as error:
            reasons[peer] = str(error)
            say(f"{peer.name}: skipped, {error}")
    return versions, reasons


def _chosen(kinds: Sequence[type[Peer]], options: argparse.Namespace) -> list[type[Peer]]:
    names = {peer.name for peer in kinds}
    wanted = set(filter(None, options.only.split(","))) or names
    unwanted = set(filter(None, options.skip.split(",")))
    unknown = (wanted | unwanted) - names
    if unknown:
        known = ", ".join(peer.name for peer in kinds)
        raise SystemExit(f"no such supervisor: {', '.join(sorted(unknown))}; there are {known}")
    return [peer for peer in kinds if peer.name in wanted - unwanted]


def _settings(options: argparse.Namespace) -> bench.Settings:
    counts = tuple(int(count) for count in options.children.split(","))
    return bench.Settings(counts, options.kills, options.idle_seconds, options.log_mib, options.rounds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bakeoff", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--clawctl", type=Path, default=Path("target/release/clawctl"), help="our executable")
    common.add_argument("--cache", type=Path, default=Tools.default_root(), help="where peers are installed")
    common.add_argument("--only", default="", metavar="NAMES", help="supervisors to run, separated by commas")
    common.add_argument("--skip", default="", metavar="NAMES", help="supervisors to leave out")
    common.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", parents=[common], help="fill the cache")
    trials = commands.add_parser("trials", parents=[common], help="pass or fail, with evidence")
    trials.add_argument("--trial", default="", metavar="KEYS", help="trials to run, separated by commas")
    measures = commands.add_parser("bench", parents=[common], help="time and memory")
    measures.add_argument("--children", default=CHILD_COUNTS, help=f"how many, by default {CHILD_COUNTS}")
    measures.add_argument("--kills", type=int, default=20, help="single crashes measured")
    measures.add_argument("--idle-seconds", type=float, default=10.0, help="for the idle processor time")
    measures.add_argument("--log-mib", type=int, default=512, help="written by one child; 0 leaves it out")
    measures.add_argument("--rounds", type=int, default=1, help="repetitions, of which the median is shown")
    return parser
