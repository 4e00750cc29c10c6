"""Who waits for whom, wired into edges and gates that are few, and refused where it would never end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from flowkit.dsl.bindings import Nodes, Targets
from flowkit.errors import GraphError, LimitExceeded
from flowkit.model.names import shortened
from flowkit.model.plan import Edge, Node, Span, spans_of
from flowkit.model.struct import struct

MAX_EDGES = 5_000_000
_SHOWN = 12


class DuplicateStep(GraphError):
    """Two steps of one run have the same id."""


@struct
class Wait:
    """Each of *waiters* waits for all *targets*; both by number, id or place."""

    waiters: Nodes
    targets: Targets


@attrs.define
class _Group:
    """Steps that are waited for together, and who does: each with whether it requires that they succeed."""

    nodes: Nodes
    name: str | None
    waiters: dict[int, bool] = attrs.field(factory=dict)


@struct
class Wiring:
    """The gates and edges of one plan."""

    gates: tuple[str, ...]
    edges: tuple[Edge, ...]


def wire(waits: Iterable[Wait], ids: Sequence[str], resolve: Callable[[str], Node]) -> Wiring:
    """Turn declared waits into edges: members plus waiters where several steps wait for one group, never the product.

    Args:
        ids: the ids of the steps, by number.
        resolve: gives the number of a step that was named by id, or the id where it is stored already.

    Raises:
        GraphError: steps wait for each other in a circle, or something waits that is not declared here.
        LimitExceeded: more than 5,000,000 edges.
    """
    waits = list(waits)
    if not waits:
        return Wiring((), ())
    places = _waits_of_places(waits)
    direct: dict[tuple[int, Node], bool] = {}
    groups: dict[tuple[Span, ...], _Group] = {}
    for wait in waits:
        waiters = _steps(wait.waiters, resolve)
        for targets in _without_places(wait.targets, places) if waiters else ():
            found = _distinct(targets.nodes, resolving(resolve, ids[waiters[0]]))
            distinct = Targets(found, targets.required, targets.name)
            _collect(direct, groups, waiters, distinct)
    wiring = _edges(direct, groups, ids)
    _refuse_cycles(wiring.edges, ids, len(wiring.gates))
    return wiring


def resolving(resolve: Callable[[str], Node], owner: str) -> Callable[[str], Node]:
    """Return *resolve* so that it says which step named a step that is not there."""

    def named(name: str) -> Node:
        try:
            return resolve(name)
        except GraphError as error:
            raise GraphError(f"step {owner!r}: {error}") from None

    return named


def _waits_of_places(waits: Iterable[Wait]) -> dict[int, list[Targets]]:
    places: dict[int, list[Targets]] = defaultdict(list)
    for wait in waits:
        if not isinstance(wait.waiters, range):
            for node in wait.waiters:
                if isinstance(node, int) and node < 0:
                    places[node].append(wait.targets)
    return places


def _without_places(targets: Targets, places: dict[int, list[Targets]]) -> Iterator[Targets]:
    """Yield the targets that are steps; in place of an empty map, what it would itself have waited for."""
    todo, seen = [targets], set()
    while todo:
        one = todo.pop()
        empty = () if isinstance(one.nodes, range) else [n for n in one.nodes if isinstance(n, int) and n < 0]
        if not empty:
            yield one
            continue
        steps = tuple(node for node in one.nodes if node not in empty)
        if steps:
            yield attrs.evolve(one, nodes=steps)
        for place in empty:
            # Once as required and once as not: it is required if any way to it requires it all along.
            if (place, one.required) not in seen:
                seen.add((place, one.required))
                inherited = places.get(place, ())
                todo.extend(attrs.evolve(each, required=each.required and one.required) for each in inherited)


def _steps(waiters: Nodes, resolve: Callable[[str], Node]) -> Sequence[int]:
    if isinstance(waiters, range):
        return waiters
    found: list[int] = []
    for node in waiters:
        number = resolve(node) if isinstance(node, str) else node
        if isinstance(number, str):
            raise GraphError(f"step {number!r} is not declared here, so it cannot be made to wait for anything")
        if number >= 0:
            found.append(number)
    return found


def _distinct(nodes: Nodes, resolve: Callable[[str], Node]) -> Nodes:
    if isinstance(nodes, range):
        return nodes
    found = {resolve(node) if isinstance(node, str) else node for node in nodes}
    numbers = sorted(node for node in found if isinstance(node, int))
    return (*numbers, *sorted(node for node in found if isinstance(node, str)))


def _collect(
    direct: dict[tuple[int, Node], bool],
    groups: dict[tuple[Span, ...], _Group],
    waiters: Sequence[int],
    targets: Targets,
) -> None:
    nodes, required = targets.nodes, targets.required
    if len(nodes) == 1:
        for waiter in waiters:
            direct[waiter, nodes[0]] = required or direct.get((waiter, nodes[0]), False)
    elif nodes:
        group = groups.setdefault(spans_of(nodes), _Group(nodes, targets.name))
        group.name = group.name or targets.name
        for waiter in waiters:
            group.waiters[waiter] = required or group.waiters.get(waiter, False)


def _edges(direct: dict[tuple[int, Node], bool], groups: dict[tuple[Span, ...], _Group], ids: Sequence[str]) -> Wiring:
    gates = [group for group in groups.values() if len(group.waiters) > 1]
    for group in groups.values():
        if len(group.waiters) == 1:
            ((waiter, required),) = group.waiters.items()
            for node in group.nodes:
                direct[waiter, node] = required or direct.get((waiter, node), False)
    count = len(direct) + sum(len(gate.nodes) + len(gate.waiters) for gate in gates)
    if count > MAX_EDGES:
        raise LimitExceeded(f"a run has at most {MAX_EDGES} edges between its steps, this graph has {count}")
    edges = [Edge(waiter, node, required) for (waiter, node), required in direct.items()]
    for number, gate in enumerate(gates, start=len(ids)):
        edges.extend(Edge(number, node, False) for node in gate.nodes)
        edges.extend(Edge(waiter, number, required) for waiter, required in gate.waiters.items())
    return Wiring(tuple(_gate_name(gate, ids) for gate in gates), tuple(edges))


def _gate_name(gate: _Group, ids: Sequence[str]) -> str:
    if gate.name is not None:
        return gate.name
    first, last = (ids[node] if isinstance(node, int) else node for node in (gate.nodes[0], gate.nodes[-1]))
    return shortened(f"{first}..{last}")


def _refuse_cycles(edges: Iterable[Edge], ids: Sequence[str], gates: int) -> None:
    """Peel off what waits for nothing, again and again; what is left waits in a circle."""
    left = [0] * (len(ids) + gates)
    dependents: dict[int, list[int]] = defaultdict(list)
    for edge in edges:
        if isinstance(edge.target, int):
            left[edge.waiter] += 1
            dependents[edge.target].append(edge.waiter)
    free = [node for node, count in enumerate(left) if not count]
    for node in free:
        for waiter in dependents.get(node, ()):
            left[waiter] -= 1
            if not left[waiter]:
                free.append(waiter)
    if len(free) < len(left):
        stuck = {node for node, count in enumerate(left) if count}
        raise GraphError(f"steps wait for each other in a circle: {_circle(stuck, edges, ids)}")


def _circle(stuck: set[int], edges: Iterable[Edge], ids: Sequence[str]) -> str:
    # Whatever is stuck waits for something that is stuck, so following that must come round.
    blocker = {edge.waiter: edge.target for edge in edges if edge.waiter in stuck and edge.target in stuck}
    path: dict[int, int] = {}
    node = next(iter(stuck))
    while node not in path:
        path[node] = len(path)
        node = int(blocker[node])
    circle = [ids[one] for one in list(path)[path[node] :] if one < len(ids)]
    shown = [*circle[::-1][:_SHOWN], "..."] if len(circle) > _SHOWN else circle[::-1]
    return " -> ".join([*shown, shown[0]])
