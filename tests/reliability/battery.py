"""Runs the tests that `tests/battery.toml` names and writes their results into the README."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
BATTERY = ROOT / "tests/battery.toml"
README = ROOT / "README.md"
BEGIN, END = "<!-- battery -->", "<!-- end of battery -->"
SKIP = re.compile(r"^\s*SKIP[: ]\s*(?P<what>[^\n]*)", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """A fault, what is promised in it, and what shows it here and in a virtual machine."""

    number: int
    fault: str
    promise: str
    tests: tuple[str, ...]
    vm: tuple[str, ...]
    open: str
    absent: str


@dataclass(frozen=True)
class Outcome:
    """What a test came to; `why` it was skipped, if it was."""

    state: Literal["passed", "failed", "skipped"]
    seconds: float
    why: str = ""


def rows() -> list[Row]:
    """All rows of the battery, by their numbers."""
    listed = tomllib.loads(BATTERY.read_text())["row"]
    found = [
        Row(
            number=row["number"],
            fault=row["fault"],
            promise=row["promise"],
            tests=tuple(row["tests"]),
            vm=tuple(row.get("vm", ())),
            open=row.get("open", ""),
            absent=row.get("absent", ""),
        )
        for row in listed
    ]
    return sorted(found, key=lambda row: row.number)


def package(name: str) -> str:
    """The package that a test is of."""
    return re.split("::| ", name)[0]


def expression(names: set[str]) -> str:
    """The filter of nextest that selects exactly these tests."""
    parts = []
    for name in sorted(names):
        binary, test = name.split(" ")
        parts.append(f"(binary_id(={binary}) & test(={test}))")
    return " + ".join(parts)


def target() -> Path:
    """The target directory."""
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return Path(json.loads(text)["target_directory"])


def run(names: set[str], report: Path) -> None:
    """Runs tests, whatever becomes of them, and keeps their report."""
    made = target() / "nextest/battery/junit.xml"
    made.unlink(missing_ok=True)
    # As `scripts/test` builds, so that nothing is built twice. The tests run `clawctl`, and cargo
    # knows nothing of that.
    subprocess.run(["cargo", "build", "--workspace", "--locked"], cwd=ROOT, check=True)
    command = ["cargo", "nextest", "run", "--locked", "--profile", "battery", "--workspace"]
    subprocess.run([*command, "-E", expression(names)], cwd=ROOT, check=False)
    if not made.exists():
        sys.exit("scripts/battery: no test was run; why not stands above")
    report.parent.mkdir(parents=True, exist_ok=True)
    made.rename(report)


def run_in_vm(checks: set[str], report: Path) -> None:
    """Runs the parts of `scripts/test-vm` that have these checks, and keeps what each came to."""
    report.unlink(missing_ok=True)
    report.parent.mkdir(parents=True, exist_ok=True)
    parts = sorted({check.partition(": ")[0] for check in checks})
    environment = {**os.environ, "CLAW_VM_REPORT": str(report)}
    subprocess.run(["scripts/test-vm", *parts], cwd=ROOT, env=environment, check=False)


def outcomes_in_vm(checks: set[str], report: Path) -> dict[str, Outcome]:
    """What a report of `scripts/test-vm` tells; a check of which it says nothing failed."""
    said: dict[str, Outcome] = {}
    for line in report.read_text().splitlines():
        state, check, why = line.split("\t")
        if state == "ok":
            said[check] = Outcome("passed", 0)
        elif state == "SKIP":
            said[check] = Outcome("skipped", 0, why.replace("|", "/"))
    failed = Outcome("failed", 0)
    # A part that was not run at all is skipped under its own name.
    return {check: said.get(check, said.get(check.partition(": ")[0], failed)) for check in checks}


def outcomes(report: Path) -> dict[str, Outcome]:
    """What a report in the form of JUnit tells of each test."""
    found = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        seconds = float(case.get("time", "0"))
        said = "\n".join(
            part.text or "" for kind in ("system-out", "system-err") for part in case.findall(kind)
        )
        skipped = SKIP.search(said)
        if case.find("failure") is not None or case.find("error") is not None:
            outcome = Outcome("failed", seconds)
        elif skipped is not None:
            outcome = Outcome("skipped", seconds, reason(skipped["what"]))
        else:
            outcome = Outcome("passed", seconds)
        found[f"{case.get('classname')} {case.get('name')}"] = outcome
    return found


def reason(said: str) -> str:
    """Why a test was skipped, without its name."""
    return said.split(": ", 1)[-1].strip().replace("|", "/")


def result(row: Row, found: dict[str, Outcome]) -> str:
    """What a row came to, in words of the table."""
    if row.absent:
        return f"not here: {row.absent}"
    if not row.tests and not row.vm:
        return f"not proven yet: {row.open}"
    named = [*row.tests, *row.vm]
    failed = [
        re.split("::|: ", name)[-1]
        for name in named
        if name in found and found[name].state == "failed"
    ]
    if failed:
        return f"**fails**: {', '.join(failed)}"
    if any(name not in found for name in named):
        return "not checked here: not all of its tests were run"
    without_vm = "holds, as far as it is seen without a virtual machine"
    for names, words in ((row.tests, "not checked here"), (row.vm, without_vm)):
        skipped = [found[name].why for name in names if found[name].state == "skipped"]
        if skipped:
            return f"{words}: {skipped[0]}"
    return f"holds in part; not proven yet: {row.open}" if row.open else "holds"


def control_groups() -> str:
    """The version of control groups that limits are given with here."""
    mounts = Path("/proc/self/mounts").read_text()
    kinds = {line.split(" ")[2] for line in mounts.splitlines()}
    if "cgroup" in kinds:
        return "version 1 and 2" if "cgroup2" in kinds else "version 1"
    return "version 2" if "cgroup2" in kinds else "none"


def counted(names: set[str], found: dict[str, Outcome]) -> str:
    """How many of them came to what."""
    states = [found[name].state if name in found else "not run" for name in names]
    text = f"{states.count('passed')} passed"
    for state in ("failed", "skipped", "not run"):
        if state in states:
            text += f", {states.count(state)} {state}"
    return text


def table(battery: list[Row], found: dict[str, Outcome]) -> str:
    """The part of the README between its marks."""
    tests = {name for row in battery for name in row.tests}
    checks = {name for row in battery for name in row.vm}
    kernel = platform.release().split("-")[0]
    here = f"Linux {kernel}, control groups of {control_groups()}"
    lines = [
        f"{len(tests)} tests: {counted(tests, found)} ({here}). And {len(checks)} checks in a "
        f"virtual machine with systemd and control groups of version 2: {counted(checks, found)}.",
        "",
        "| | fault | promise | result | s |",
        "|---|---|---|---|---|",
    ]
    for row in battery:
        spent = sum(found[name].seconds for name in row.tests if name in found)
        seconds = f"{spent:.1f}" if row.tests else ""
        cells = [str(row.number), row.fault, row.promise, result(row, found), seconds]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(text: str) -> None:
    """Puts a table between the marks of the README."""
    readme = README.read_text()
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"scripts/battery: README.md has no {BEGIN} and {END}")
    README.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main() -> int:
    """Runs the battery; 1 if a promise does not hold."""
    parser = argparse.ArgumentParser(prog="scripts/battery", description=__doc__)
    parser.add_argument("--row", type=int, action="append", help="only this one; writes nothing")
    parser.add_argument(
        "--package", action="append", help="only its tests; of others, what they came to last"
    )
    parser.add_argument(
        "--vm",
        action="store_true",
        help="only the checks in a virtual machine; others as they were",
    )
    arguments = parser.parse_args()
    battery = rows()
    if arguments.row:
        battery = [row for row in battery if row.number in arguments.row]
    names = {name for row in battery for name in row.tests}
    checks = {name for row in battery for name in row.vm}
    kept = target() / ("battery-row" if arguments.row else "battery")
    whole = not arguments.package and not arguments.vm
    if whole:
        shutil.rmtree(kept, ignore_errors=True)
        if names:
            run(names, kept / "all.xml")
    for of in arguments.package or ():
        run({name for name in names if package(name) == of}, kept / f"{of}.xml")
    in_vm = kept / "vm.tsv"
    if checks and (whole or arguments.vm):
        run_in_vm(checks, in_vm)
    found = {}
    # Those of a package come after those of all, which are older.
    for report in sorted(kept.glob("*.xml")):
        found.update(outcomes(report))
    if in_vm.exists():
        found.update(outcomes_in_vm(checks, in_vm))
    text = table(battery, found)
    print(text)
    if not arguments.row:
        write(text)
    missing = whole and any(name not in found for name in names | checks)
    return int("**fails**" in text or missing)


if __name__ == "__main__":
    sys.exit(main())
