"""A graph becomes a picture: steps that are alike become one box, and gates dissolve into arrows."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from flowkit.drawing.graph import Arrow, Box, Graph, Picture, Role

FOLD_FROM = 4
"""How many alike steps become one box; fewer stay for themselves."""

_VARIES = re.compile(r"\[[^\[\]]*\]|\d+")
_STRENGTH: dict[Role, int] = {"requires": 0, "optional": 1, "emits": 2}


def fold(graph: Graph, *, from_: int = FOLD_FROM) -> Picture:
    """Lay out a graph's boxes and arrows.

    Steps are alike that have the same kind, emitter, and id but for numbers and keys, and stand equally far from the
    start; so no arrow ever leads from a box back to one before it.

    Args:
        from_: how many alike steps become one box.
    """
    ranks = _ranks(graph)
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number, node in enumerate(graph.nodes):
        parent = graph.nodes[node.parent].id if node.parent is not None else None
        groups[stem(node.id), node.kind, stem(parent or ""), ranks[number], node.is_later].append(number)
    boxes: list[list[int]] = []
    for members in groups.values():
        boxes += [members] if len(members) >= from_ else [[number] for number in members]
    boxes.sort(key=lambda members: (ranks[members[0]], members[0]))
    box_of = {number: place for place, members in enumerate(boxes) for number in members}
    drawn = tuple(_box(graph, members, box_of, boxes) for members in boxes)
    return Picture(graph.title, drawn, tuple(_arrows(graph, box_of)), graph.is_run)


def stem(step_id: str) -> str:
    """Return an id with a star for each key in brackets and each number."""
    return _VARIES.sub(lambda found: "[*]" if found[0].startswith("[") else "*", step_id)


def _label(graph: Graph, members: Sequence[int]) -> str:
    first = graph.nodes[members[0]].id
    return first if len(members) == 1 else stem(first)


def _box(graph: Graph, members: Sequence[int], box_of: dict[int, int], boxes: Sequence[Sequence[int]]) -> Box:
    first = graph.nodes[members[0]]
    statuses = Counter(status for number in members if (status := graph.nodes[number].status) is not None)
    emitter = _label(graph, boxes[box_of[first.parent]]) if first.parent is not None else None
    ids = tuple(graph.nodes[number].id for number in members)
    return Box(_label(graph, members), first.kind, dict(statuses), len(members), emitter, first.is_later, ids)


def _arrows(graph: Graph, box_of: dict[int, int]) -> Iterable[Arrow]:
    into: dict[int, set[int]] = defaultdict(set)
    for edge in graph.edges:
        if edge.waiter not in box_of:
            into[edge.waiter].add(box_of[edge.target])
    found: dict[tuple[int, int], Role] = {}
    for edge in graph.edges:
        if edge.waiter in box_of:
            for source in into[edge.target] if edge.target not in box_of else (box_of[edge.target],):
                _keep(found, source, box_of[edge.waiter], edge.role)
    for number, node in enumerate(graph.nodes):
        if node.parent is not None:
            _keep(found, box_of[node.parent], box_of[number], "emits")
    return [Arrow(source, target, role) for (source, target), role in sorted(found.items())]


def _keep(found: dict[tuple[int, int], Role], source: int, target: int, role: Role) -> None:
    before = found.get((source, target))
    if before is None or _STRENGTH[role] < _STRENGTH[before]:
        found[source, target] = role


def _ranks(graph: Graph) -> dict[int, int]:
    """Return how far each node is from the start: one more than the farthest of those it comes after."""
    after: dict[int, list[int]] = defaultdict(list)
    left: Counter[int] = Counter()
    pairs = [(edge.target, edge.waiter) for edge in graph.edges]
    pairs += [(node.parent, number) for number, node in enumerate(graph.nodes) if node.parent is not None]
    for source, target in pairs:
        after[source].append(target)
        left[target] += 1
    ranks = dict.fromkeys([*range(len(graph.nodes)), *after, *left], 0)
    waiting = [node for node in ranks if not left[node]]
    for node in waiting:  # grows as it goes
        for later in after[node]:
            ranks[later] = max(ranks[later], ranks[node] + 1)
            left[later] -= 1
            if not left[later]:
                waiting.append(later)
    return ranks
