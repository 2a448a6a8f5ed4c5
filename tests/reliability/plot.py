"""Curves as a small picture, a row for each kind of work and a column for each figure."""

from __future__ import annotations

from dataclasses import dataclass

WIDTH, HEIGHT = 220, 110
MARGIN_LEFT, MARGIN_TOP, GAP = 44, 34, 40


@dataclass(frozen=True)
class Curve:
    """A figure over what was done."""

    kind: str
    title: str
    points: list[tuple[float, float]]


def text(x: float, y: float, words: str, more: str = "") -> str:
    """A piece of text."""
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{words}</text>'


def short(number: float) -> str:
    """A number in at most five characters."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.3g}"


def panel(curve: Curve, left: float, top: float) -> list[str]:
    """One curve in its frame, from nothing to its most."""
    most_x = max(x for x, _ in curve.points) or 1.0
    most_y = 1.25 * max(y for _, y in curve.points) or 1.0
    # More points than columns of the picture tell nothing more.
    step = max(1, len(curve.points) // WIDTH)
    points = [*curve.points[::step], curve.points[-1]]
    places = " ".join(
        f"{left + WIDTH * x / most_x:.1f},{top + HEIGHT * (1 - y / most_y):.1f}" for x, y in points
    )
    frame = f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" class="frame"/>'
    return [
        frame,
        f'<polyline points="{places}" class="curve"/>',
        text(left, top - 6, curve.title),
        text(left - 4, top + 10, short(most_y), 'text-anchor="end" class="small"'),
        text(left - 4, top + HEIGHT, "0", 'text-anchor="end" class="small"'),
        text(
            left + WIDTH,
            top + HEIGHT + 13,
            f"{short(most_x)} {curve.kind}",
            'text-anchor="end" class="small"',
        ),
    ]


def draw(curves: list[Curve]) -> str:
    """All curves as one picture."""
    kinds = list(dict.fromkeys(curve.kind for curve in curves))
    titles = list(dict.fromkeys(curve.title for curve in curves))
    parts = []
    for curve in curves:
        left = MARGIN_LEFT + titles.index(curve.title) * (WIDTH + MARGIN_LEFT)
        top = MARGIN_TOP + kinds.index(curve.kind) * (HEIGHT + GAP)
        parts += panel(curve, left, top)
    width = len(titles) * (WIDTH + MARGIN_LEFT) + 12
    height = MARGIN_TOP + len(kinds) * (HEIGHT + GAP)
    style = (
        "text{font:11px sans-serif;fill:#444}.small{font-size:9px}"
        ".frame{fill:none;stroke:#bbb}.curve{fill:none;stroke:#1668a8;stroke-width:1.5}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
    ground = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return "\n".join([head, f"<style>{style}</style>", ground, *parts, "</svg>"]) + "\n"
