"""Prepares the folder that the other agents of the reference fleet work in."""

import pathlib
import sys


def main() -> None:
    """Makes the folder given as the first argument."""
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(f"prepared {folder}")


if __name__ == "__main__":
    main()
