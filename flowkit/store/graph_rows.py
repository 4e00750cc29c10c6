"""A plan that has found its place becomes rows: pure, so that many runs' rows can be written together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.model.names import joined
from flowkit.model.plan import Node, Plan, Span, nodes_of, spans_of
from flowkit.model.states import DEAD_STEP, StepStatus
from flowkit.model.struct import struct
from flowkit.store.births import Born
from flowkit.store.keys import place_of
from flowkit.store.propagate import MEMBER, OPTIONAL, REQUIRED
from flowkit.store.specs import bindings_to_text, retry_to_text

Row = tuple[Any, ...]


@struct
class Parent:
    """The step that emits a plan; the steps of a run's start have none."""

    key: int
    depth: int


@struct
class StoredStep:
    """A step that is there already, as far as a plan that points at it needs to know."""

    key: int
    id: str
    status: StepStatus


@attrs.define
class Placed:
    """Where each node of a plan lies: a new key, or, for a repeated ``dedup_key``, that of the first one."""

    keys: list[int]
    known: dict[str, StoredStep]
    aliases: dict[int, StoredStep]

    def key(self, node: Node) -> int:
        """Return the key of a node of the plan or of a stored step."""
        return self.keys[node] if isinstance(node, int) else self.known[node].key


@attrs.define
class GraphRows:
    """Rows of new steps, their specs, gates and edges, gathered until they are written.

    Attributes:
        delayed_at: by the clock of which instant steps are due later, if any are.
        lanes: those of the steps, by queue and kind.
        by_id, by_dedup: emitted steps among them, by run and id, and by run and what ``dedup_name`` gives: a plan that
            is added later may point at them.
    """

    steps: list[Row] = attrs.field(factory=list)
    specs: list[Row] = attrs.field(factory=list)
    gates: list[Row] = attrs.field(factory=list)
    deps: list[Row] = attrs.field(factory=list)
    delayed_at: Micros | None = None
    lanes: dict[tuple[str, str], int] = attrs.field(factory=dict)
    by_id: dict[tuple[int, str], StoredStep] = attrs.field(factory=dict)
    by_dedup: dict[tuple[int, str], StoredStep] = attrs.field(factory=dict)

    def remember(self, run: int, step: StoredStep, dedup: str | None) -> None:
        """Let plans that are added later find a step."""
        self.by_id[run, step.id] = step
        if dedup is not None:
            self.by_dedup[run, dedup] = step


@struct
class NewGraph:
    """A plan in its run: where its nodes lie and in which status each is born.

    Attributes:
        new: the steps that are really new, by their place in the plan.
    """

    run: int
    plan: Plan
    placed: Placed
    born: Born
    parent: Parent | None
    now: Micros
    new: Sequence[int] = attrs.field(init=False)

    @new.default
    def _not_aliases(self) -> Sequence[int]:
        count = range(len(self.plan.steps))
        return [index for index in count if index not in self.placed.aliases] if self.placed.aliases else count

    def lanes(self) -> set[tuple[str, str]]:
        """Return the queue and kind of each new step."""
        steps = self.plan.steps
        return {(steps[index].queue, steps[index].kind) for index in self.new}

    def write(self, rows: GraphRows) -> int:
        """Add this graph's rows, whose lanes are known; returns how many edges it has."""
        if any(step.delay for step in self.plan.steps):
            rows.delayed_at = self.now
        for index in self.new:
            row = self._step(index, rows.lanes)
            rows.steps.append(row)
            rows.specs.append(self._spec(index))
            if self.parent is not None:
                step = StoredStep(row[0], self.plan.steps[index].id, self.born.status[index])
                rows.remember(self.run, step, row[-1])
        count, born = len(self.plan.steps), self.born
        for node, name in enumerate(self.plan.gates, start=count):
            rows.gates.append((self.placed.keys[node], name, born.left[node], born.failed[node]))
        edges = list(self._deps())
        rows.deps += edges
        return len(edges)

    def _step(self, index: int, lanes: dict[tuple[str, str], int]) -> Row:
        spec, status, now = self.plan.steps[index], self.born.status[index], self.now
        is_ready = status is StepStatus.READY
        due = now + spec.delay
        identity = (self.placed.keys[index], self.run, spec.id, lanes[spec.queue, spec.kind])
        policy = (int(spec.allow_failure), spec.retry.max_attempts, spec.priority)
        times = (now, now, now if status.is_ended else None, due if is_ready else None)
        later = due if is_ready and spec.delay else None
        origin = (self.parent.key, self.parent.depth + 1) if self.parent else (None, 0)
        dedup = dedup_name(spec.kind, spec.dedup_key) if spec.dedup_key is not None else None
        how = (status.value, self.born.reason.get(index))
        return (*identity, *how, *policy, *times, later, spec.delay, self.born.left[index], *origin, dedup)

    def _spec(self, index: int) -> Row:
        spec = self.plan.steps[index]
        bound = [(binding, self._places(binding.spans)) for binding in spec.bindings]
        texts = (retry_to_text(spec.retry), spec.timeout, bindings_to_text(bound), spec.metadata)
        return (self.placed.keys[index], *texts, hashlib.sha256(spec.input).digest(), spec.input)

    def _places(self, spans: Iterable[Span]) -> list[list[int]]:
        placed = self.placed
        if not placed.aliases and not any(isinstance(span, str) for span in spans):
            # Without aliases a plan's places are the run's, moved by the first one: no need to list each node.
            base = place_of(placed.keys[0])
            return [[base + span[0], base + span[1]] for span in spans if not isinstance(span, str)]
        places = [place_of(placed.key(node)) for node in nodes_of(spans)]
        return [list(span) for span in spans_of(places) if not isinstance(span, str)]

    def _deps(self) -> Iterable[tuple[int, int, int]]:
        count, placed = len(self.plan.steps), self.placed
        seen: set[tuple[int, int]] = set()
        for edge in sorted(self.plan.edges, key=lambda edge: not edge.required):
            if edge.waiter in placed.aliases:
                continue
            pair = (placed.key(edge.target), placed.keys[edge.waiter])
            if pair not in seen:
                seen.add(pair)
                role = MEMBER if edge.waiter >= count else REQUIRED if edge.required else OPTIONAL
                yield (*pair, role)

    def entry(self) -> tuple[Any, ...]:
        """Return what the run's history says of this."""
        first = place_of(self.placed.keys[self.new[0]]) - self.new[0] if self.new else 0
        places = {index: first + index for index in self.new}
        status = self.born.status
        ready = [place for index, place in places.items() if status[index] is StepStatus.READY]
        dead = [place for index, place in places.items() if status[index] in DEAD_STEP]
        more: dict[str, Any] = {"ready": spans_of(ready)}
        if dead:
            more["canceled"] = spans_of(dead)
        if self.parent:
            more["parent"] = place_of(self.parent.key)
        return ("steps_added", spans_of(places.values()), None, more)


def dedup_name(kind: str, key: str) -> str:
    """Join a kind and a dedup key to the text that is unique in a run."""
    return joined(kind, key)
