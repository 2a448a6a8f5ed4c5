"""The cache outside the tree: where peers are installed and the child program is built."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).parent / "child.c"
INSTALL_S = 1800.0
"""Building Horust from source is the longest: about five minutes on two busy cores."""


class UnavailableError(Exception):
    """A peer, or our own executable, cannot be had here; the message is the reason shown."""


class Tools:
    """The cache folder and what lies in it."""

    def __init__(self, root: Path) -> None:
        """Makes the folder."""
        self.root = root.expanduser().resolve()
        self.root.mkdir(parents=True, exist_ok=True)

    @classmethod
    def default_root(cls) -> Path:
        """`openclaw-bakeoff` in the user's cache folder."""
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "openclaw-bakeoff"

    def folder(self, name: str) -> Path:
        """A folder of the cache, made when missing."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def child(self) -> Path:
        """The child program, built anew when its source is younger."""
        built = self.root / "child"
        if built.exists() and built.stat().st_mtime >= SOURCE.stat().st_mtime:
            return built
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise UnavailableError("the child program needs a C compiler: install gcc")
        # Static, so that a thousand children start fast; some systems have no static libc.
        command = [compiler, "-O2", "-Wall", "-o", str(built), str(SOURCE)]
        if subprocess.run([*command, "-static"], capture_output=True, check=False).returncode != 0:
            self.do(command)
        return built

    def do(self, command: Sequence[str | Path], cwd: Path | None = None) -> str:
        """Runs an installation step and answers its output; a failing one is the reason of a skip."""
        shown = " ".join(Path(part).name if isinstance(part, Path) else part for part in command[:4])
        try:
            done = subprocess.run(
                command,
                cwd=cwd or self.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=INSTALL_S,
                check=False,
            )
        except FileNotFoundError as error:
            raise UnavailableError(f"`{shown}`: no such program") from error
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"`{shown}` took longer than {INSTALL_S:.0f} s") from error
        if done.returncode != 0:
            last = (done.stdout.strip().splitlines() or ["no output"])[-1]
            raise UnavailableError(f"`{shown}` exited with {done.returncode}: {last[:160]}")
        return done.stdout

    def python(self, package: str) -> Path:
        """A virtual environment holding one PyPI package; answers its `bin`."""
        home = self.root / f"venv-{package}"
        # The mark is written last: an installation cut off half-way is done again.
        mark = home / "installed"
        if not mark.exists():
            shutil.rmtree(home, ignore_errors=True)
            self.do([sys.executable, "-m", "venv", home])
            self.do([home / "bin" / "pip", "install", "--quiet", package])
            mark.touch()
        return home / "bin"

    def debian(self, name: str, packages: Sequence[str]) -> Path:
        """Debian packages unpacked into a folder, not installed; answers that folder."""
        home = self.root / name
        mark = home / "installed"
        if not mark.exists():
            shutil.rmtree(home, ignore_errors=True)
            archives = self.folder(f"{name}/archives")
            try:
                self.do(["apt-get", "download", *packages], cwd=archives)
            except UnavailableError:
                # A fresh machine has no package lists yet.
                self.do(["apt-get", "update"])
                self.do(["apt-get", "download", *packages], cwd=archives)
            for archive in sorted(archives.glob("*.deb")):
                self.do(["dpkg-deb", "-x", archive, home])
            mark.touch()
        return home
