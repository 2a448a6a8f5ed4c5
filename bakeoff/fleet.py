"""A supervisor with its children, running in a room of its own."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bakeoff import processes
from bakeoff.peers.base import Child, Peer
from bakeoff.room import Room
from bakeoff.tools import Tools
from bakeoff.waiting import seconds_since, wait_until

UP_S = 60.0

STEADY_AGE_S = 2.0
"""Older than the second after which every peer calls a start good: a restart before it may be delayed."""


class NotUpError(RuntimeError):
    """The children did not come up in time."""


@dataclass(frozen=True)
class Fleet:
    """What a trial works with."""

    peer: Peer
    room: Room
    children: Sequence[Child]
    began_ns: int
    """The moment the supervisor was started."""

    def pids(self) -> dict[str, int]:
        """The latest process of each child by name."""
        return {name: marker.pid for name, marker in self.room.markers.latest_starts().items()}

    def wait_up(self, seconds: float = UP_S) -> None:
        """Waits for the first start of every child."""
        every = 0.01 if len(self.children) > 10 else 0.001
        wanted = len(self.children)
        wait_until(lambda: len(self.room.markers.latest_starts()) >= wanted, seconds, every)
        up = len(self.room.markers.latest_starts())
        if up < wanted:
            tail = " ".join(self.room.said().split())[-300:] or "nothing"
            raise NotUpError(f"{up} of {wanted} children up after {seconds:.0f} s; it said: {tail}")

    def wait_steady(self, name: str | None = None) -> None:
        """Waits until the child, or every child, is old enough that its end is not a bad start."""
        starts = self.room.markers.latest_starts()
        youngest = starts[name].at_ns if name else max(marker.at_ns for marker in starts.values())
        wait_until(lambda: seconds_since(youngest) >= STEADY_AGE_S, STEADY_AGE_S + 1, every=0.02)

    def living(self) -> set[int]:
        """The living children, their helpers included."""
        return set(self.room.children())

    def lives(self, name: str) -> bool:
        """Whether the latest process of the child lives."""
        return self.room.is_child(self.pids()[name])

    def signal(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signals the latest process of the child and answers the moment just before.

        A child that was not started again may have left its number to a stranger, who is spared.
        """
        pid = self.pids()[name]
        if not self.room.is_child(pid):
            raise NotUpError(f"{name} (process {pid}) does not run")
        now_ns = time.monotonic_ns()
        processes.kill(pid, number)
        return now_ns


@contextmanager
def open_fleet(
    kind: type[Peer],
    tools: Tools,
    children: Sequence[Child],
    extra_environment: dict[str, str] | None = None,
) -> Iterator[Fleet]:
    """A fleet whose children are all up."""
    with begin_fleet(kind, tools, children, extra_environment) as fleet:
        fleet.wait_up()
        yield fleet


@contextmanager
def begin_fleet(
    kind: type[Peer],
    tools: Tools,
    children: Sequence[Child],
    extra_environment: dict[str, str] | None = None,
) -> Iterator[Fleet]:
    """Starts a supervisor with the children and proves at the end that nothing of it is left."""
    room = Room(tools.child(), extra_environment)
    try:
        peer = kind(tools, room)
        peer.configure(children)
        began_ns = time.monotonic_ns()
        peer.start()
        try:
            fleet = Fleet(peer, room, children, began_ns)
            yield fleet
        finally:
            peer.tidy()
    finally:
        room.clear()
