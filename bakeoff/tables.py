"""Tables for people: markdown for a document, plain for a terminal."""

import textwrap
from collections.abc import Sequence

Row = Sequence[str]

PLAIN_WIDTH = 26
"""Of a cell in a plain table; longer text is wrapped."""


def markdown(header: Row, rows: Sequence[Row]) -> str:
    """A pipe table."""
    lines = [_pipe(header), _pipe(["---"] * len(header))]
    return "\n".join([*lines, *(_pipe(row) for row in rows)])


def _pipe(row: Row) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def plain(header: Row, rows: Sequence[Row], width: int = PLAIN_WIDTH) -> str:
    """Columns side by side, long cells wrapped."""
    wrapped = [[textwrap.wrap(cell, width) or [""] for cell in row] for row in [header, *rows]]
    widths = [max(len(line) for row in wrapped for line in row[column]) for column in range(len(header))]
    rule = "  ".join("-" * column for column in widths)
    blocks = [_block(row, widths) for row in wrapped]
    return f"\n{rule}\n".join(["\n".join(blocks[:1]), *blocks[1:]])


def _block(row: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    height = max(len(cell) for cell in row)
    lines = []
    for line in range(height):
        cells = (cell[line] if line < len(cell) else "" for cell in row)
        padded = (text.ljust(width) for text, width in zip(cells, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
