"""Places the boxes of a picture: in layers from top to bottom, each layer ordered so that few arrows cross."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import mean

import attrs

from flowkit.drawing.graph import Picture

SWEEPS = 8
"""How often the layers are ordered anew, down and up in turn; more seldom finds anything better."""
SETTLINGS = 12
"""How often boxes are moved towards those they belong to."""


@attrs.frozen
class Layout:
    """Where everything lies, in the units of the sizes that were given.

    Attributes:
        at: the middle of each box, by its place in the picture.
        paths: the points of each arrow, by its place in the picture, from the middle of its source to its target's.
    """

    width: float
    height: float
    at: tuple[tuple[float, float], ...]
    paths: tuple[tuple[tuple[float, float], ...], ...]


@attrs.define
class _Web:
    """Boxes, and a bend for every layer that an arrow passes; numbers from the number of boxes on are bends."""

    layers: list[list[int]]
    above: dict[int, list[int]]
    below: dict[int, list[int]]
    chains: list[list[int]]


def place(
    picture: Picture, width_of: Callable[[int], float], *, gap: float, bend: float, row: float
) -> Layout:
    """Place the boxes of a picture.

    Args:
        width_of: gives the width of a box by its place in the picture.
        gap: how far neighbours stay apart.
        bend: how much room an arrow takes that passes a layer.
        row: the height of a layer with the space below it.
    """
    web = _web(picture)
    _uncross(web)
    count = len(picture.boxes)
    widths = {number: width_of(number) if number < count else bend for layer in web.layers for number in layer}
    x = _columns(web, widths, gap)
    left = min((x[number] - widths[number] / 2 for number in x), default=0.0)
    right = max((x[number] + widths[number] / 2 for number in x), default=0.0)
    y = {number: (depth + 0.5) * row for depth, layer in enumerate(web.layers) for number in layer}
    points = {number: (x[number] - left, y[number]) for number in x}
    at = tuple(points[number] for number in range(count))
    paths = tuple(tuple(points[number] for number in chain) for chain in web.chains)
    return Layout(right - left, row * len(web.layers), at, paths)


def _web(picture: Picture) -> _Web:
    depth = [0] * len(picture.boxes)
    for arrow in sorted(picture.arrows, key=lambda arrow: arrow.source):
        depth[arrow.target] = max(depth[arrow.target], depth[arrow.source] + 1)
    layers: list[list[int]] = [[] for _ in range(max(depth, default=-1) + 1)]
    for number, layer in enumerate(depth):
        layers[layer].append(number)
    web = _Web(layers, defaultdict(list), defaultdict(list), [])
    free = len(picture.boxes)
    for arrow in picture.arrows:
        passed = range(depth[arrow.source] + 1, depth[arrow.target])
        bends = list(range(free, free + len(passed)))
        free += len(bends)
        for layer, number in zip(passed, bends):
            layers[layer].append(number)
        chain = [arrow.source, *bends, arrow.target]
        web.chains.append(chain)
        for upper, lower in zip(chain, chain[1:]):
            web.below[upper].append(lower)
            web.above[lower].append(upper)
    return web


def _uncross(web: _Web) -> None:
    best, fewest = [list(layer) for layer in web.layers], _crossings(web)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        neighbours = web.above if down else web.below
        for layer in web.layers if down else reversed(web.layers):
            _sort(layer, neighbours, _order_of(web.layers))
        found = _crossings(web)
        if found < fewest:
            best, fewest = [list(layer) for layer in web.layers], found
    web.layers[:] = best


def _order_of(layers: Sequence[Sequence[int]]) -> dict[int, float]:
    return {number: place + 0.0 for layer in layers for place, number in enumerate(layer)}


def _sort(layer: list[int], neighbours: Mapping[int, list[int]], order: Mapping[int, float]) -> None:
    # Stable, and what has no neighbours on that side stays about where it is.
    layer.sort(key=lambda number: mean([order[one] for one in neighbours[number]] or [order[number]]))


def _crossings(web: _Web) -> int:
    order, total = _order_of(web.layers), 0
    for layer in web.layers[:-1]:
        ends = [order[lower] for upper in layer for lower in sorted(web.below[upper], key=order.__getitem__)]
        total += _inversions(ends)
    return total


def _inversions(values: list[float]) -> int:
    """Count the pairs that stand in the wrong order, by sorting halves and merging them."""
    if len(values) < 2:
        return 0
    middle = len(values) // 2
    left, right = values[:middle], values[middle:]
    total = _inversions(left) + _inversions(right)
    left.sort()
    right.sort()
    at = 0
    for value in right:
        while at < len(left) and left[at] <= value:
            at += 1
        total += len(left) - at
    return total


def _columns(web: _Web, widths: Mapping[int, float], gap: float) -> dict[int, float]:
    x: dict[int, float] = {}
    for layer in web.layers:
        _spread(layer, dict.fromkeys(layer, 0.0), widths, gap, x)
    for settling in range(SETTLINGS):
        down = settling % 2 == 0
        neighbours = web.above if down else web.below
        for layer in web.layers if down else reversed(web.layers):
            wanted = {number: mean([x[one] for one in neighbours[number]] or [x[number]]) for number in layer}
            _spread(layer, wanted, widths, gap, x)
    return x


@attrs.define
class _Block:
    """Neighbours of a layer that touch: where the first begins, how wide all are, and each one's middle from there."""

    left: float
    width: float
    members: list[tuple[int, float]]

    def join(self, other: _Block, gap: float) -> _Block:
        """Return both as one block, where it suits its members best."""
        shift = self.width + gap
        one, two = len(self.members), len(other.members)
        left = (self.left * one + (other.left - shift) * two) / (one + two)
        moved = [(number, offset + shift) for number, offset in other.members]
        return _Block(left, shift + other.width, self.members + moved)


def _spread(
    layer: Sequence[int], wanted: Mapping[int, float], widths: Mapping[int, float], gap: float, x: dict[int, float]
) -> None:
    """Put a layer's members as near as may be to where they are wanted, in their order and without touching."""
    blocks: list[_Block] = []
    for number in layer:
        width = widths[number]
        block = _Block(wanted[number] - width / 2, width, [(number, width / 2)])
        while blocks and blocks[-1].left + blocks[-1].width + gap > block.left:
            block = blocks.pop().join(block, gap)
        blocks.append(block)
    for block in blocks:
        x.update((number, block.left + offset) for number, offset in block.members)
