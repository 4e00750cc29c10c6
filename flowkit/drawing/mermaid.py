"""A picture as a Mermaid flowchart, which GitHub, GitLab and MkDocs draw."""

from __future__ import annotations

from collections.abc import Iterator

from flowkit.drawing.colors import COLORS
from flowkit.drawing.graph import Box, Picture
from flowkit.drawing.text import origin, standing

_ARROWS = {"requires": "-->", "optional": "-.->", "emits": "-. emits .->"}
_CLASSES = {status: f"fill:{fill},stroke:{stroke},color:#1b1f24" for status, (fill, stroke) in COLORS.items()}


def lines(picture: Picture) -> Iterator[str]:
    """Yield the lines of the flowchart."""
    yield "flowchart TD"
    yield f"  %% {_plain(picture.title)}"
    for place, box in enumerate(picture.boxes):
        yield f'  n{place}["{_label(box)}"]{_class(box)}'
    for arrow in picture.arrows:
        yield f"  n{arrow.source} {_ARROWS[arrow.role]} n{arrow.target}"
    used = sorted({box.status for box in picture.boxes if box.status is not None})
    for status in used:
        yield f"  classDef {status} {_CLASSES[status]}"
    if any(box.emitted_by is not None or box.is_later for box in picture.boxes):
        yield "  classDef emitted stroke-dasharray:5 3"
        names = ",".join(f"n{place}" for place, box in enumerate(picture.boxes) if box.emitted_by or box.is_later)
        yield f"  class {names} emitted"


def _class(box: Box) -> str:
    return f":::{box.status}" if box.status is not None else ""


def _label(box: Box) -> str:
    many = f"{box.label} ×{box.count}" if box.count > 1 else box.label
    return "<br/>".join(_escaped(part) for part in (many, box.kind, standing(box), origin(box)) if part)


def _escaped(text: str) -> str:
    # Its own entities begin with #; whatever could end the quotes or be taken for markup is written as one.
    return "".join(one if one.isalnum() or one in " _-/.,:×" else f"#{ord(one)};" for one in text)


def _plain(text: str) -> str:
    return " ".join(text.replace("{", "(").replace("}", ")").split())
