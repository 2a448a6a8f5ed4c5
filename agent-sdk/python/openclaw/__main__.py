"""The command line: `python -m openclaw run FILE[:CLASS]` and `… check FILE[:CLASS]`.

Exit codes: 0 well, 1 failed, 2 wrong usage, 75 no virtual environment yet, 78 wrong by
configuration: an edit can mend it, starting again cannot.
"""

from __future__ import annotations

import sys

_USAGE = """usage: python -m openclaw run FILE[:CLASS]
       python -m openclaw run --environments FOLDER --requirements REQUIREMENTS_FILE FILE[:CLASS]
       python -m openclaw run --environments FOLDER --require REQUIREMENT... FILE[:CLASS]
       python -m openclaw check [--name NAME] [--schedule TEXT] FILE[:CLASS]"""


OLDEST_PYTHON = (3, 10)


def main(arguments: list[str]) -> int:
    """Do what the arguments say; argparse would cost a tenth of the start-up time."""
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        print(
            f"openclaw: Python 3.10 or later is needed, {sys.executable} is {found}",
            file=sys.stderr,
        )
        return 78
    if len(arguments) == 2 and arguments[0] == "run":
        from ._runner import run

        return run(arguments[1])
    if len(arguments) > 2 and arguments[0] == "run":
        from ._environment import EXIT_USAGE, enter

        code = enter(arguments[1:])
        if code != EXIT_USAGE:
            return code
    if len(arguments) >= 2 and arguments[0] == "check" and len(arguments) % 2 == 0:
        options = dict(zip(arguments[1:-1:2], arguments[2:-1:2], strict=True))
        if not set(options) - {"--name", "--schedule"}:
            from ._check import check

            name, schedule = options.get("--name"), options.get("--schedule")
            return check(arguments[-1], name=name, schedule=schedule)
    print(_USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
