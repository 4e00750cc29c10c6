"""A picture as text: a line for each box, beside it lanes that lead from one to another, as in a log of branches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowkit.drawing.graph import Box, Picture

SYMBOLS = {"succeeded": "●", "failed": "✗", "running": "◐", "canceled": "⊘"}
OPEN = "○"

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_LINES = {
    _UP: "│",
    _DOWN: "│",
    _UP | _DOWN: "│",
    _LEFT | _RIGHT: "─",
    _LEFT: "─",
    _RIGHT: "─",
    _UP | _RIGHT: "└",
    _UP | _LEFT: "┘",
    _DOWN | _RIGHT: "┌",
    _DOWN | _LEFT: "┐",
    _UP | _DOWN | _RIGHT: "├",
    _UP | _DOWN | _LEFT: "┤",
    _UP | _LEFT | _RIGHT: "┴",
    _DOWN | _LEFT | _RIGHT: "┬",
    _UP | _DOWN | _LEFT | _RIGHT: "┼",
}

Row = tuple[str, Box | None]
"""The lanes, and the box that stands in this line, if one does."""


def rows(picture: Picture) -> Iterator[Row]:
    """Yield the lines of a picture from top to bottom."""
    sources: dict[int, list[int]] = {place: [] for place in range(len(picture.boxes))}
    for arrow in picture.arrows:
        sources[arrow.target].append(arrow.source)
    waiting = {place: sum(place in found for found in sources.values()) for place in sources}
    lanes: list[int | None] = []
    for place in _order(picture):
        into = {lanes.index(source) for source in sources[place]}
        ending = set()
        for source in sources[place]:
            waiting[source] -= 1
            if not waiting[source]:
                ending.add(lanes.index(source))
        column = _column(lanes, ending)
        if lanes and any(lane is not None for lane in lanes):
            yield _joint(lanes, into, ending, column), None
        for lane in ending:
            lanes[lane] = None
        lanes += [None] * (column + 1 - len(lanes))
        lanes[column] = place
        box = picture.boxes[place]
        marks = [(_symbol(box) if at == column else "│" if lane is not None else " ") for at, lane in enumerate(lanes)]
        yield " ".join(marks).rstrip(), box
        if not waiting[place]:
            lanes[column] = None
        while lanes and lanes[-1] is None:
            lanes.pop()


def _order(picture: Picture) -> list[int]:
    """Return the boxes so that each comes after those it waits for, and soon after them."""
    after: dict[int, list[int]] = {place: [] for place in range(len(picture.boxes))}
    left = dict.fromkeys(after, 0)
    for arrow in picture.arrows:
        after[arrow.source].append(arrow.target)
        left[arrow.target] += 1
    stack = [place for place in reversed(range(len(picture.boxes))) if not left[place]]
    ordered = []
    while stack:
        place = stack.pop()
        ordered.append(place)
        for later in reversed(after[place]):
            left[later] -= 1
            if not left[later]:
                stack.append(later)
    return ordered


def _column(lanes: Sequence[int | None], ending: set[int]) -> int:
    """Return where the next box stands: below one that leads to nothing else, or in the first free lane."""
    if ending:
        return min(ending)
    return next((at for at, lane in enumerate(lanes) if lane is None), len(lanes))


def _joint(lanes: Sequence[int | None], into: set[int], ending: set[int], column: int) -> str:
    ends = into | {column} if into else set()
    low, high = (min(ends), max(ends)) if ends else (0, -1)
    drawn = []
    for at in range(max(len(lanes), high + 1)):
        is_lane = at < len(lanes) and lanes[at] is not None
        bits = 0
        if is_lane:
            bits |= _UP | (0 if at in ending and at != column else _DOWN)
        if at == column and into:
            bits |= _DOWN
        if at in ends:
            bits |= (_LEFT if at > low else 0) | (_RIGHT if at < high else 0)
        elif low < at < high and not is_lane:
            bits |= _LEFT | _RIGHT
        drawn.append(_LINES.get(bits, " "))
        drawn.append("─" if low <= at < high else " ")
    return "".join(drawn).rstrip()


def _symbol(box: Box) -> str:
    return SYMBOLS.get(box.status or "", OPEN)


def words(box: Box) -> list[str]:
    """Return what is said of a box: label and number of steps, how they stand, where they come from, their kind."""
    many = f"×{box.count}" if box.count > 1 else ""
    return [part for part in (f"{box.label} {many}".rstrip(), standing(box), origin(box), box.kind) if part]


def standing(box: Box) -> str:
    """Say in which status a box is; of many, how many in each."""
    if box.count == 1:
        return next(iter(box.statuses), "")
    return ", ".join(f"{count} {status}" for status, count in box.statuses.items())


def origin(box: Box) -> str:
    """Say of a box whether it was emitted while the run went on, or will be."""
    if box.is_later:
        return "emitted at run time"
    return f"emitted by {box.emitted_by}" if box.emitted_by is not None else ""
