"""A plan that has found its place becomes rows: pure, so that many runs' rows can be written together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.model.names import joined
from flowkit.model.plan import Binding, Node, Plan, Span, nodes_of, spans_of
from flowkit.model.states import StepStatus
from flowkit.model.struct import struct
from flowkit.store.births import Born
from flowkit.store.keys import place_of
from flowkit.store.propagate import MEMBER, OPTIONAL, REQUIRED
from flowkit.store.specs import bindings_to_text, retry_to_text

Row = tuple[Any, ...]

_READY = (StepStatus.READY.value, None)


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
        by_id, by_dedup: emitted steps among them, of each run, by id and by what ``dedup_name`` gives: a plan that is
            added later may point at them.
        stored_ids, stored_names: likewise the steps that are stored, as far as plans that will be added ask for them.
    """

    steps: list[Row] = attrs.field(factory=list)
    specs: list[Row] = attrs.field(factory=list)
    gates: list[Row] = attrs.field(factory=list)
    deps: list[Row] = attrs.field(factory=list)
    delayed_at: Micros | None = None
    lanes: dict[tuple[str, str], int] = attrs.field(factory=dict)
    by_id: dict[int, dict[str, Row]] = attrs.field(factory=dict)
    by_dedup: dict[int, dict[str, Row]] = attrs.field(factory=dict)
    stored_ids: dict[int, dict[str, StoredStep]] = attrs.field(factory=dict)
    stored_names: dict[int, dict[str, StoredStep]] = attrs.field(factory=dict)

    def remember(self, run: int, steps: Sequence[Row]) -> None:
        """Let plans that are added later find steps of a run."""
        self.by_id.setdefault(run, {}).update({row[2]: row for row in steps})
        self.by_dedup.setdefault(run, {}).update({row[-1]: row for row in steps if row[-1] is not None})

    def known(self, run: int, ids: set[str]) -> dict[str, StoredStep]:
        """Return the run's steps that have one of these ids, stored ones and those among the rows."""
        return _found(self.stored_ids.get(run, {}), self.by_id.get(run, {}), ids)

    def repeated(self, run: int, names: set[str]) -> dict[str, StoredStep]:
        """Return the run's steps that have one of these dedup names, stored ones and those among the rows."""
        return _found(self.stored_names.get(run, {}), self.by_dedup.get(run, {}), names)


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
        new = list(self._steps(rows))
        rows.steps += new
        rows.specs += self._specs()
        if self.parent is not None:
            rows.remember(self.run, new)
        count, born = len(self.plan.steps), self.born
        for node, name in enumerate(self.plan.gates, start=count):
            rows.gates.append((self.placed.keys[node], name, born.left[node], born.failed[node]))
        edges = list(self._deps())
        rows.deps += edges
        return len(edges)

    def _steps(self, rows: GraphRows) -> Iterator[Row]:
        steps, keys, born, now, lanes = self.plan.steps, self.placed.keys, self.born, self.now, rows.lanes
        origin = (self.parent.key, self.parent.depth + 1) if self.parent else (None, 0)
        for index in self.new:
            spec, status = steps[index], born.status[index]
            delay = spec.delay
            if delay:
                rows.delayed_at = now
            identity = (keys[index], self.run, spec.id, lanes[spec.queue, spec.kind])
            policy = (int(spec.allow_failure), spec.retry.max_attempts, spec.priority)
            how: Row = _READY
            times: Row = (now, now, None, now + delay, now + delay if delay else None)
            if status is not StepStatus.READY:
                how = (status.value, born.reason.get(index))
                times = (now, now, now if status.is_ended else None, None, None)
            dedup = dedup_name(spec.kind, spec.dedup_key) if spec.dedup_key is not None else None
            yield (*identity, *how, *policy, *times, delay, born.left[index], *origin, dedup)

    def _specs(self) -> Iterator[Row]:
        steps, keys = self.plan.steps, self.placed.keys
        bindings: tuple[Binding, ...] | None = None
        bound: str | None = None
        for index in self.new:
            spec = steps[index]
            if spec.bindings is not bindings:
                # The steps of one map share theirs.
                bindings = spec.bindings
                bound = bindings_to_text([(binding, self._places(binding.spans)) for binding in bindings])
            texts = (retry_to_text(spec.retry), spec.timeout, bound, spec.metadata)
            yield (keys[index], *texts, bytearray(hashlib.sha256(spec.input).digest()), bytearray(spec.input))

    def _places(self, spans: Sequence[Span]) -> list[tuple[int, int]]:
        placed = self.placed
        if not placed.aliases and not any(isinstance(span, str) for span in spans):
            # Without aliases a plan's places are the run's, moved by the first one: no need to list each node.
            base = place_of(placed.keys[0]) if spans else 0
            return [(base + span[0], base + span[1]) for span in spans if not isinstance(span, str)]
        places = [place_of(placed.key(node)) for node in nodes_of(spans)]
        return [span for span in spans_of(places) if not isinstance(span, str)]

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

    def dead(self) -> list[int]:
        """Return those of the new steps that are born canceled."""
        reason = self.born.reason
        return [index for index in self.new if index in reason] if reason else []

    def entry(self) -> tuple[Any, ...]:
        """Return what the run's history says of this."""
        status, new = self.born.status, self.new
        are_all = status.count(StepStatus.READY) == len(status)
        ready = new if are_all else [index for index in new if status[index] is StepStatus.READY]
        more: dict[str, Any] = {"ready": self._places(spans_of(ready))}
        if dead := self.dead():
            more["canceled"] = self._places(spans_of(dead))
        if self.parent:
            more["parent"] = place_of(self.parent.key)
        return ("steps_added", self._places(spans_of(new)), None, more)

    def places(self) -> list[tuple[int, int]]:
        """Return where the plan's steps lie in the run, as spans, also those that were there before."""
        return self._places(spans_of(range(len(self.plan.steps))))


def _found(stored: dict[str, StoredStep], rows: dict[str, Row], names: set[str]) -> dict[str, StoredStep]:
    found = {name: stored[name] for name in names & stored.keys()}
    for name in names & rows.keys():
        row = rows[name]
        found[name] = StoredStep(row[0], row[2], StepStatus(row[4]))
    return found


def dedup_name(kind: str, key: str) -> str:
    """Join a kind and a dedup key to the text that is unique in a run."""
    return joined(kind, key)
