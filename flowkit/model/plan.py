"""What a builder hands to the store: new steps, their edges and gates, as one value that is checked before BEGIN."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Union

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
    """A step as it was asked for."""

    id: str
    kind: str
    input: bytes
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    retry: Retry = DEFAULT_RETRY
    timeout: Micros | None = None
    delay: Micros = 0
    allow_failure: bool = False
    dedup_key: str | None = None
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

    A node's number is its place: ``0 .. len(steps) - 1`` are steps, the next ``len(gates)`` numbers are gates. A gate
    stands for a group that several steps wait for; its name is the group's, for people.
    """

    steps: tuple[StepSpec, ...]
    gates: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()
    output: Output | None = None

    def stored_targets(self) -> set[str]:
        """Return the ids of stored steps that this plan waits for, binds or names."""
        names = {edge.target for edge in self.edges if isinstance(edge.target, str)}
        spans = (span for step in self.steps for binding in step.bindings for span in binding.spans)
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
