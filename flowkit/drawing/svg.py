"""A picture as SVG: one file without scripts, fonts or anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from flowkit.drawing.colors import COLORS, PLAIN
from flowkit.drawing.graph import Arrow, Box, Picture
from flowkit.drawing.layers import place
from flowkit.drawing.text import origin, standing

LETTER = 7.3
"""How wide a letter of the 12 px font is taken to be."""
LINE, PAD, GAP, BEND, SPACE, MARGIN = 16, 10, 24, 8, 44, 16
LONGEST = 44
"""How many letters of a line are shown in a box; the whole of it is in the box's title."""

STYLE = """
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1b1f24; text-anchor: middle; }
.label { font-weight: 600; }
.more { fill: #57606a; }
.arrow { fill: none; stroke: #8c959f; stroke-width: 1.5; }
.optional { stroke-dasharray: 6 4; }
.emits { stroke-dasharray: 2 4; stroke-linecap: round; }
.emitted { stroke-dasharray: 5 3; }
"""

HEAD = (
    '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L10 5L0 10z" fill="#8c959f"/></marker>'
)


def svg(picture: Picture) -> str:
    """Return a picture as the text of an SVG file."""
    boxes = picture.boxes
    tall = max((len(_lines(box)) for box in boxes), default=1) * LINE + 2 * PAD
    layout = place(picture, lambda number: _width(boxes[number]), gap=GAP, bend=BEND, row=tall + SPACE)
    width, height = layout.width + 2 * MARGIN, layout.height - SPACE + 2 * MARGIN
    shift = (MARGIN, MARGIN - SPACE / 2)
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(picture.title)}</title>",
        f"<style>{STYLE}</style>",
        f"<defs>{HEAD}</defs>",
    ]
    for arrow, path in zip(picture.arrows, layout.paths):
        ends = (_height(boxes[arrow.source]), _height(boxes[arrow.target]))
        drawn.append(_arrow(arrow, [(x + shift[0], y + shift[1]) for x, y in path], ends, tall))
    for box, (x, y) in zip(boxes, layout.at):
        drawn += _box(box, x + shift[0], y + shift[1])
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _lines(box: Box) -> list[str]:
    many = f"{box.label} ×{box.count}" if box.count > 1 else box.label
    return [part for part in (many, box.kind, standing(box), origin(box)) if part]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _width(box: Box) -> float:
    return max(len(_cut(line)) for line in _lines(box)) * LETTER + 2 * PAD


def _height(box: Box) -> float:
    return len(_lines(box)) * LINE + 2 * PAD


def _arrow(arrow: Arrow, path: Sequence[tuple[float, float]], ends: tuple[float, float], tall: float) -> str:
    (x, y), *passed, (last_x, last_y) = path
    y, last_y = y + ends[0] / 2, last_y - ends[1] / 2
    curve = [f"M{x:.1f} {y:.1f}"]
    for bend_x, bend_y in passed:
        # Straight between the boxes of the layer that it passes, so that it cuts none of their corners.
        curve.append(_curve(x, y, bend_x, bend_y - tall / 2))
        x, y = bend_x, bend_y + tall / 2
        curve.append(f"L{x:.1f} {y:.1f}")
    curve.append(_curve(x, y, last_x, last_y))
    return f'<path class="arrow {arrow.role}" d="{"".join(curve)}" marker-end="url(#head)"/>'


def _curve(x0: float, y0: float, x1: float, y1: float) -> str:
    middle = (y0 + y1) / 2
    return f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"


def _box(box: Box, x: float, y: float) -> Iterator[str]:
    fill, stroke = COLORS.get(box.status or "", PLAIN)
    wide, high = _width(box), _height(box)
    kind = ' class="emitted"' if box.emitted_by is not None or box.is_later else ""
    yield f"<g><title>{escape(', '.join(_lines(box)))}</title>"
    yield (
        f'<rect{kind} x="{x - wide / 2:.1f}" y="{y - high / 2:.1f}" width="{wide:.1f}" height="{high:.1f}" '
        f'rx="6" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'
    )
    top = y - high / 2 + PAD + LINE * 0.75
    for number, line in enumerate(_lines(box)):
        name = "more" if number else "label"
        yield f'<text class="{name}" x="{x:.1f}" y="{top + number * LINE:.1f}">{escape(_cut(line))}</text>'
    yield "</g>"
