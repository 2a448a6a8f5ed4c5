"""The lines the children append to say what they did and when."""

from dataclasses import dataclass
from pathlib import Path

from bakeoff.waiting import wait_until


@dataclass(frozen=True)
class Marker:
    """One line of a child: `start`, `extra`, `armed`, `exit` or `done`."""

    kind: str
    name: str
    pid: int
    at_ns: int


class MarkerFile:
    """Follows the shared marker file; every line is read once."""

    def __init__(self, path: Path) -> None:
        """Creates the file; children under any user may append."""
        self.path = path
        path.touch()
        path.chmod(0o666)
        self._offset = 0
        self._seen: list[Marker] = []
        self._latest_starts: dict[str, Marker] = {}

    def all(self) -> list[Marker]:
        """Every marker so far, in the order written."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            fresh = file.read()
        whole = fresh.rpartition(b"\n")
        self._offset += len(whole[0]) + len(whole[1])
        for line in whole[0].splitlines():
            kind, name, pid, at_ns = line.decode().split()
            marker = Marker(kind, name, int(pid), int(at_ns))
            self._seen.append(marker)
            if kind == "start":
                self._latest_starts[name] = marker
        return self._seen

    def of(self, kind: str, name: str) -> list[Marker]:
        """The markers of one kind of one child."""
        return [marker for marker in self.all() if marker.kind == kind and marker.name == name]

    def latest_starts(self) -> dict[str, Marker]:
        """The last start of each child."""
        self.all()
        return dict(self._latest_starts)

    def started_since(self, since_ns: int) -> dict[str, Marker]:
        """The last start of each child that started after the moment."""
        return {name: marker for name, marker in self.latest_starts().items() if marker.at_ns > since_ns}

    def wait_for(self, kind: str, name: str, seconds: float, since_ns: int = 0) -> Marker | None:
        """Waits for a marker of this kind after the moment."""

        def newest() -> Marker | None:
            found = self.of(kind, name)
            return found[-1] if found and found[-1].at_ns > since_ns else None

        return wait_until(newest, seconds)
