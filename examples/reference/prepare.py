"""Looks whether this Python has what the other agents of the reference fleet need."""

import importlib.util
import sys


def main() -> None:
    """Ends with an error unless the modules given as arguments can be found."""
    missing = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"this Python has no {', '.join(missing)}")
    print(f"found {', '.join(sys.argv[1:])}")


if __name__ == "__main__":
    main()
