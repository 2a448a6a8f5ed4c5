"""Works for a while and crashes, again and again."""

import argparse
import time


def main() -> None:
    """Crashes after the given time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    print("working")
    time.sleep(arguments.seconds)
    raise RuntimeError("this agent crashes on purpose")


if __name__ == "__main__":
    main()
