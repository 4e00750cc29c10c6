"""What a builder hands to the store: new steps, their edges and gates, as one value that is checked before BEGIN.

Steps stay together as they were declared: what those of a map share is said, looked at and written once for all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Union

import attrs

from flowkit.clock import Micros
from flowkit.model.retry import Retry
from flowkit.model.struct import struct

Node = Union[int, str]
"""A place in a plan (its steps first, then its gates), or the id of a step that is stored already."""

Span = Union[tuple[int, int], str]
"""Steps *first* to *last* of a plan, both included, or the id of a step that is stored already."""

DEFAULT_QUEUE = "default"
DEFAULT_RETRY = Retry()


@struct
class Binding:
    """One keyword-only parameter of an executor and the steps whose results it receives.

    Attributes:
        name: the parameter.
        spans: the steps, in the order of the list that is handed over.
        many: a list of results, rather than one result.
        optional: a step that ended without success gives None.
    """

    name: str
    spans: tuple[Span, ...]
    many: bool = False
    optional: bool = False


@struct
class StepSpec:
    """Steps as one declaration asked for them: one, or one for each input of a map.

    Attributes:
        inputs: as JSON, one for each of the *ids*.
        dedup_keys: likewise, where they have any.
    """

    kind: str
    ids: Sequence[str]
    inputs: Sequence[bytes]
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    retry: Retry = DEFAULT_RETRY
    timeout: Micros | None = None
    delay: Micros = 0
    allow_failure: bool = False
    dedup_keys: Sequence[str] | None = None
    metadata: str | None = None
    bindings: tuple[Binding, ...] = ()


@struct
class Edge:
    """*waiter* (a place in the plan) waits for *target*: until it succeeds if required, until it has ended if not."""

    waiter: int
    target: Node
    required: bool = True


@struct
class Output:
    """Which steps' results are the run's output: one by id, or a list of them."""

    step_id: str | None = None
    spans: tuple[Span, ...] = ()


@struct
class Plan:
    """New steps in declaration order, the gates after them, and every edge among them and to stored steps.

    A node's number is its place: ``0 .. len(ids) - 1`` are steps, the next ``len(gates)`` numbers are gates. A gate
    stands for a group that several steps wait for; its name is the group's, for people.

    Attributes:
        ids: of all steps.
    """

    specs: tuple[StepSpec, ...]
    gates: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()
    output: Output | None = None
    ids: list[str] = attrs.field(init=False, repr=False, eq=False)

    @ids.default
    def _ids_of_all(self) -> list[str]:
        return list(itertools.chain.from_iterable(spec.ids for spec in self.specs))

    def numbered(self) -> Iterator[tuple[range, StepSpec]]:
        """Yield the places of each declaration's steps, and the declaration."""
        first = 0
        for spec in self.specs:
            yield range(first, first + len(spec.ids)), spec
            first += len(spec.ids)

    def dedup_keys(self) -> dict[int, tuple[str, str]]:
        """Return, by place, kind and key of the steps that have a dedup key."""
        if not any(spec.dedup_keys for spec in self.specs):
            return {}
        return {
            place: (spec.kind, key)
            for places, spec in self.numbered()
            if spec.dedup_keys is not None
            for place, key in zip(places, spec.dedup_keys)
        }

    def stored_targets(self) -> set[str]:
        """Return the ids of stored steps that this plan waits for, binds or names."""
        names = {edge.target for edge in self.edges if isinstance(edge.target, str)}
        spans = (span for spec in self.specs for binding in spec.bindings for span in binding.spans)
        return names | {span for span in spans if isinstance(span, str)}


def spans_of(nodes: Iterable[Node]) -> tuple[Span, ...]:
    """Write a list of nodes as spans, joining neighbours; order is kept.

    What a map declared is a range, and one span however long it is.
    """
    if isinstance(nodes, range):
        return ((nodes[0], nodes[-1]),) if nodes else ()
    spans: list[Span] = []
    first = last = -2
    for node in nodes:
        if isinstance(node, int) and node == last + 1:
            last = node
            spans[-1] = (first, last)
        elif isinstance(node, int):
            first = last = node
            spans.append((first, last))
        else:
            first = last = -2
            spans.append(node)
    return tuple(spans)


def nodes_of(spans: Iterable[Span]) -> Iterator[Node]:
    """Undo ``spans_of``."""
    for span in spans:
        if isinstance(span, str):
            yield span
        else:
            yield from range(span[0], span[1] + 1)
