"""What stands for steps that are declared but not stored yet: handles, groups, and how others depend on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar, Union, cast, overload

import attrs

from flowkit.errors import GraphError

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
A = TypeVar("A", bound="After")


class Graph(Protocol):
    """The builder that a handle belongs to, as far as handles know it."""

    def id_of(self, number: int) -> str:
        """Return the id of the step with this number."""
        ...

    def order(self, earlier: Any, later: Any) -> None:
        """Make *later* wait for *earlier*."""
        ...


class Orderable:
    """Gives ``a >> b`` its meaning, which is ``chain(a, b)``; the value is the right side, or else the left.

    So in ``a >> [] >> b`` what follows an empty list waits for what it follows.
    """

    __slots__ = ()

    def __rshift__(self, later: A) -> A:
        _order((self, later))
        return cast("A", self) if _is_empty(later) else later

    def __rrshift__(self: T, earlier: After) -> T:
        _order((earlier, self))
        return self


@attrs.frozen(eq=False, repr=False)
class StepHandle(Orderable, Generic[R_co]):
    """One declared step, whose executor returns ``R``: bind it as a keyword, wait for it with ``after=`` or ``>>``.

    It is no value: what the step returns exists only once the step has run.

    Attributes:
        id: the step's id in its run.
        kind: which executor runs it.
    """

    _graph: Graph
    _number: int
    id: str
    kind: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StepHandle) and self._graph is other._graph and self._number == other._number

    def __hash__(self) -> int:
        return hash((id(self._graph), self._number))

    def __repr__(self) -> str:
        return f"StepHandle({self.id!r}, kind={self.kind!r})"


@attrs.frozen(eq=False, repr=False)
class StepGroup(Orderable, Sequence[StepHandle[R_co]]):
    """The steps that one ``map`` declared, in input order; handles are made only for those that are asked for.

    A group without steps still stands for something: ``_place`` is the place in the order that it would have had.

    Attributes:
        id: what its steps' ids begin with.
        kind: which executor runs them.
    """

    _graph: Graph
    _numbers: Sequence[int]
    id: str
    kind: str
    _place: int | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> StepHandle[R_co]: ...

    @overload
    def __getitem__(self, index: slice) -> StepGroup[R_co]: ...

    def __getitem__(self, index: int | slice) -> StepHandle[R_co] | StepGroup[R_co]:
        if isinstance(index, slice):
            return StepGroup(self._graph, self._numbers[index], self.id, self.kind, self._place)
        number = self._numbers[index]
        return StepHandle(self._graph, number, self._graph.id_of(number), self.kind)

    def __repr__(self) -> str:
        return f"StepGroup({self.id!r}, kind={self.kind!r}, {len(self)} steps)"


@attrs.frozen
class Dependency(Orderable):
    """Steps, and whether whoever waits for them requires that they succeed; made by ``require`` and ``optional``."""

    items: tuple[Any, ...]
    required: bool


Target = Union[StepHandle[Any], str, Dependency, Sequence[Union[StepHandle[Any], str]]]
"""What a result parameter may be bound to: one step, or a group or list of them."""

After = Union[StepHandle[Any], str, Dependency, Sequence[Union[StepHandle[Any], str, Dependency, StepGroup[Any]]]]
"""What a step may wait for."""

_Item = Union[StepHandle[Any], str, Sequence[Union[StepHandle[Any], str]]]


def require(*items: _Item) -> Dependency:
    """Say explicitly what is the default: the step waits until these succeed, and is canceled if one does not.

    Raises:
        GraphError: nothing was given, or something that is no step.
    """
    return Dependency(_checked("require", items), required=True)


def optional(*items: _Item) -> Dependency:
    """Wait until these have ended in any way; bound to a parameter, one that did not succeed gives None.

    Raises:
        GraphError: nothing was given, or something that is no step.
    """
    return Dependency(_checked("optional", items), required=False)


def _checked(name: str, items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not items:
        raise GraphError(f"{name}() was given no steps; name a handle, a group, a list of handles or an id")
    for item in items:
        if not isinstance(item, (StepHandle, StepGroup, str, list, tuple)):
            raise GraphError(f"{name}() takes handles, groups, lists of handles and ids, got {item!r}")
    return items


def chain(*items: After) -> None:
    """Make each item wait for the one before it: ``chain(a, b, [c, d])`` is ``a >> b >> [c, d]``.

    An item that names no step, such as an empty list or None, is left out: what follows it waits for what it follows.

    Raises:
        GraphError: something is no step, or no item is a handle or group, so that no graph is named.
    """
    _order(items)


def _order(items: tuple[Any, ...]) -> None:
    graph = graph_of(items)
    if graph is None:
        raise GraphError("chain() needs at least one handle or group: ids alone do not say of which run they are")
    named = [item for item in items if not _is_empty(item)]
    for earlier, later in zip(named, named[1:]):
        graph.order(earlier, later)


def _is_empty(item: Any) -> bool:
    inner = item.items if isinstance(item, Dependency) else item
    return inner is None or (isinstance(inner, (list, tuple)) and all(map(_is_empty, inner)))


def graph_of(item: Any) -> Graph | None:
    """Return the graph of the first handle or group in *item*, or None where there is none."""
    if isinstance(item, (StepHandle, StepGroup)):
        return item._graph
    inner = item.items if isinstance(item, Dependency) else item if isinstance(item, (list, tuple)) else ()
    return next((found for one in inner if (found := graph_of(one)) is not None), None)
