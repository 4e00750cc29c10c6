"""The last look at a graph: names become numbers, results are compared with what takes them, a plan comes out."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs

from flowkit.dsl.agreement import disagrees, length_of, list_disagrees
from flowkit.dsl.bindings import Bound
from flowkit.dsl.declarations import Declaration
from flowkit.dsl.graph import Wait, resolving, wire
from flowkit.dsl.kinds import Kind
from flowkit.errors import GraphError
from flowkit.model.plan import Binding, Node, Output, Plan, Span, StepSpec, nodes_of, spans_of

Resolve = Callable[[str], Node]
"""Gives the number of a step named by id, or the id itself where it is stored already; else raises ``GraphError``."""


def resolved_spans(nodes: Sequence[Node], resolve: Resolve) -> tuple[Span, ...]:
    """Return *nodes* as spans, in their order; the place of an empty map is no step and leaves nothing."""
    if isinstance(nodes, range):
        return spans_of(nodes)
    found = (resolve(node) if isinstance(node, str) else node for node in nodes)
    return spans_of([node for node in found if isinstance(node, str) or node >= 0])


@attrs.define(eq=False)
class Assembly:
    """Everything that was declared, on its way to become a plan."""

    declarations: Sequence[Declaration]
    ids: Sequence[str]
    waits: Iterable[Wait]
    resolve: Resolve
    _agreed: set[tuple[int, str, bool, int]] = attrs.field(factory=set)

    def plan(self, output: Output | None) -> Plan:
        """Check what could not be checked before, and return the plan.

        Raises:
            GraphError: an unknown step, a circle, or a result that does not fit what it is bound to.
            LimitExceeded: too many edges.
        """
        wiring = wire(self.waits, self.ids, self.resolve)
        specs = tuple(self._spec(declaration) for declaration in self.declarations)
        return Plan(specs, wiring.gates, wiring.edges, output)

    def _spec(self, declaration: Declaration) -> StepSpec:
        return declaration.spec(tuple(self._binding(declaration, bound) for bound in declaration.bound))

    def _binding(self, declaration: Declaration, bound: Bound) -> Binding:
        spans = resolved_spans(bound.targets.nodes, resolving(self.resolve, self.ids[declaration.first]))
        parameter = declaration.kind.parameters.get(bound.name)
        if parameter is not None and bound.many:
            self._refuse_other_length(declaration, bound, spans, parameter.annotation)
        for number, source in self._sources(spans) if parameter is not None else ():
            judged = (id(declaration.kind), bound.name, bound.many, id(source))
            if judged not in self._agreed:
                self._refuse_disagreement(declaration, bound, number, source)
                self._agreed.add(judged)
        return Binding(bound.name, spans, bound.many, bound.optional)

    def _sources(self, spans: Iterable[Span]) -> Iterator[tuple[int, Kind]]:
        """Yield the kinds of the steps in *spans*, each with the first step that has it; stored steps are unknown."""
        for span in spans:
            if isinstance(span, str):
                continue
            first, last = span
            place = bisect.bisect_right(self.declarations, first, key=_first) - 1
            while place < len(self.declarations) and self.declarations[place].first <= last:
                declaration = self.declarations[place]
                yield max(first, declaration.first), declaration.kind
                place += 1

    def _refuse_other_length(
        self, declaration: Declaration, bound: Bound, spans: Iterable[Span], annotation: Any
    ) -> None:
        wanted = length_of(annotation)
        if wanted is not None and (given := sum(1 for _ in nodes_of(spans))) != wanted:
            raise GraphError(
                f"step {self.ids[declaration.first]!r}: executor {declaration.kind.name!r} takes {_shown(annotation)} "
                f"as {bound.name!r}, which is {wanted} long, but {given} results are bound to it"
            )

    def _refuse_disagreement(self, declaration: Declaration, bound: Bound, number: int, source: Kind) -> None:
        wanted = declaration.kind.parameters[bound.name].annotation
        wrong = list_disagrees if bound.many else disagrees
        if not wrong(source.returns, wanted):
            return
        raise GraphError(
            f"step {self.ids[declaration.first]!r}: executor {declaration.kind.name!r} takes {_shown(wanted)} "
            f"as {bound.name!r}, but step {self.ids[number]!r} ({source.name!r}) returns {_shown(source.returns)}"
            f"{', bound as a list' if bound.many else ''}"
        )


def _first(declaration: Declaration) -> int:
    return declaration.first


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
