"""What a trial says of a supervisor."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from bakeoff.peers.base import Peer
from bakeoff.tools import Tools


class Verdict(Enum):
    """The word in the cell."""

    PASS = "pass"
    FAIL = "FAIL"
    NOT_OFFERED = "n/a"
    SKIPPED = "skip"


@dataclass(frozen=True)
class Outcome:
    """A verdict and what it rests on."""

    verdict: Verdict
    evidence: str

    @classmethod
    def of(cls, passed: object, evidence: str) -> "Outcome":
        """A pass when truthy, else a fail."""
        return cls(Verdict.PASS if passed else Verdict.FAIL, evidence)


@dataclass(frozen=True)
class Trial:
    """One row of the table."""

    key: str
    title: str
    run: Callable[[type[Peer], Tools], Outcome]
