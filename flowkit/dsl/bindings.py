"""What was given as ``after=``, in a chain or for a result parameter, read into the steps that it means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from flowkit.dsl.handles import Dependency, Graph, StepGroup, StepHandle
from flowkit.dsl.kinds import Kind
from flowkit.errors import GraphError, nearest
from flowkit.model.plan import Node
from flowkit.model.signature import STEP_OPTIONS
from flowkit.model.struct import struct

Nodes = Sequence[Node]
"""Steps by number or id, in order; a negative number is the place of a map that came out without steps."""


@struct
class Targets:
    """Steps that are waited for as one.

    Attributes:
        required: they must succeed; else it is enough that they end.
        name: what people call them, None for a list.
    """

    nodes: Nodes
    required: bool
    name: str | None


@struct
class Bound:
    """A result parameter and the steps it was bound to."""

    name: str
    targets: Targets
    many: bool

    @property
    def optional(self) -> bool:
        """A step that did not succeed gives None."""
        return not self.targets.required


def read_targets(graph: Graph, value: Any, owner: str) -> list[Targets]:
    """Return what *value* says to wait for, each group and each list of steps as one.

    Raises:
        GraphError: it is nothing that can be waited for, or belongs to another graph; names *owner*.
    """
    if value is None:
        return []
    if isinstance(value, Dependency):
        return [attrs.evolve(one, required=value.required) for one in _read_list(graph, value.items, owner)]
    if isinstance(value, (list, tuple)):
        return _read_list(graph, value, owner)
    return [_read_one(graph, value, owner)]


def read_waiters(graph: Graph, value: Any, owner: str) -> Nodes:
    """Return every step that *value* names, to be made to wait for something.

    Raises:
        GraphError: as for ``read_targets``.
    """
    found = read_targets(graph, value, owner)
    return found[0].nodes if len(found) == 1 else [node for one in found for node in one.nodes]


def _read_list(graph: Graph, items: Sequence[Any], owner: str) -> list[Targets]:
    found: list[Targets] = []
    alone: list[Node] = []
    for item in items:
        if isinstance(item, (StepHandle, str)):
            alone.append(_node(graph, item, owner))
        else:
            found.extend(read_targets(graph, item, owner))
    return [Targets(tuple(alone), True, None), *found] if alone else found


def _read_one(graph: Graph, value: Any, owner: str) -> Targets:
    if isinstance(value, StepGroup):
        _refuse_stranger(graph, value, owner)
        return Targets(value._numbers if value._place is None else (value._place,), True, value.id)
    if isinstance(value, (StepHandle, str)):
        return Targets((_node(graph, value, owner),), True, None)
    raise GraphError(f"{owner}: expected a handle, a group, a list of handles or the id of a step, got {value!r}")


def _node(graph: Graph, item: StepHandle[Any] | str, owner: str) -> Node:
    if isinstance(item, str):
        return item
    _refuse_stranger(graph, item, owner)
    return item._number


def _refuse_stranger(graph: Graph, item: StepHandle[Any] | StepGroup[Any], owner: str) -> None:
    if item._graph is not graph:
        raise GraphError(
            f"{owner}: {item!r} was declared by another run or step; within one run, name a step by its id"
        )


def read_bindings(graph: Graph, kind: Kind, given: dict[str, Any], owner: str) -> tuple[Bound, ...]:
    """Return what each result parameter of *kind* is bound to, in the order given.

    Raises:
        GraphError: a keyword is no result parameter, one that has no default is not bound, or a value is no step;
            names the executor, the parameter and the nearest right name.
    """
    if not given and not kind.required:
        return ()
    for name in given:
        if name not in kind.required:
            near = nearest(name, [*kind.required, *STEP_OPTIONS])
            raise GraphError(f"{owner}: executor {kind.name!r} has no result parameter {name!r}{near}")
    for name, required in kind.required.items():
        if required and name not in given:
            raise GraphError(
                f"{owner}: executor {kind.name!r} needs a result for {name!r}; bind a step to it: {name}=<handle>"
            )
    return tuple(_bound(graph, name, value, f"{owner}: {name}") for name, value in given.items())


def _bound(graph: Graph, name: str, value: Any, owner: str) -> Bound:
    required = not isinstance(value, Dependency) or value.required
    if isinstance(value, Dependency):
        value, *more = value.items
        if more:
            raise GraphError(f"{owner}: several arguments to require() or optional() are for after= only; give a list")
    many = isinstance(value, (list, tuple, StepGroup))
    if isinstance(value, (list, tuple)):
        targets = Targets(tuple(_each(graph, value, owner)), required, None)
    else:
        targets = attrs.evolve(_read_one(graph, value, owner), required=required)
    return Bound(name, targets, many)


def _each(graph: Graph, items: Sequence[Any], owner: str) -> Iterator[Node]:
    for item in items:
        if not isinstance(item, (StepHandle, str)):
            hint = "; write optional([...]) or require([...]) around the list" if isinstance(item, Dependency) else ""
            raise GraphError(f"{owner}: expected a list of handles or ids of steps, got {item!r} in it{hint}")
        yield _node(graph, item, owner)
