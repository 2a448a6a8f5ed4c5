"""Checks HTTP targets once and ends: with 0 when all answered well, with 1 when one did not."""

import json
import os
import sys
import time
import urllib.error
import urllib.request


def check(url: str) -> str:
    """An empty text when the target answers 2xx, else what is wrong."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return "" if 200 <= answer.status < 300 else f"status {answer.status}"
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except OSError as error:
        return str(error)


def main() -> int:
    """Checks the configured targets; a payload `{"only": "NAME"}` narrows them."""
    config = json.loads(os.environ["OPENCLAW_CONFIG"])
    payload = json.loads(sys.stdin.read() or "{}")
    failed = 0
    for target in config["targets"]:
        if payload.get("only") not in {None, target["name"]}:
            continue
        started = time.monotonic()
        problem = check(target["url"])
        took_ms = (time.monotonic() - started) * 1000
        failed += bool(problem)
        print(f"{target['name']}: {problem or 'ok'} in {took_ms:.1f} ms")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
