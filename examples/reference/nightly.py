"""Writes a report of what the store holds."""

import datetime
import json
import pathlib
import sys


def main() -> None:
    """Reads the store's file in the folder given as the first argument."""
    folder = pathlib.Path(sys.argv[1])
    path = folder / "store.json"
    values = json.loads(path.read_text()) if path.exists() else {}
    day = datetime.datetime.now(tz=datetime.UTC).date()
    report = folder / f"report-{day}.txt"
    report.write_text("".join(f"{key}: {value}\n" for key, value in sorted(values.items())))
    print(f"wrote {report} with {len(values)} values")


if __name__ == "__main__":
    main()
