"""A plan that has found its place becomes rows: pure, so that many runs' rows can be written together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.model.names import joined
from flowkit.model.plan import Node, Plan, Span, StepSpec, nodes_of, spans_of
from flowkit.model.states import StepStatus
from flowkit.model.struct import struct
from flowkit.store.births import Born
from flowkit.store.keys import place_of
from flowkit.store.propagate import MEMBER, OPTIONAL, REQUIRED
from flowkit.store.specs import bindings_to_text, retry_to_text

Row = tuple[Any, ...]

_READY = (StepStatus.READY.value, None)

SHARED = (
    *("lane", "status", "reason", "allow_failure", "max_attempts", "priority"),
    *("scheduled_at", "created_at", "ended_at", "ready_at", "delayed_until", "delay"),
    *("deps_left", "depth"),
)
"""The columns that the steps of a map have in common when they are born, with those of other steps' like maps."""

COLUMNS = ("key", "run", "id", *SHARED, "parent", "dedup_key")
"""The columns of a step that is born."""

LEASED = ("token", "worker", "started_at", "expires_at")
"""Those that it has besides where it is leased before it is stored."""

NOBODY = 0
"""Stands for the step that emits others where there is none: no key of a step."""


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
        alike: steps that differ in nothing but id, key and parent, by their run and what else they share: of each
            parent, their keys by id.
        delayed_at: by the clock of which instant steps are due later, if any are.
        lanes: those of the steps, by queue and kind.
        by_id, by_dedup: keys of emitted steps among them, of each run, by id, and ids by what ``dedup_name`` gives: a
            plan that is added later may point at them.
        waiting: how those of them stand that are not ready.
        stored_ids, stored_names: likewise the steps that are stored, as far as plans that will be added ask for them.
    """

    steps: list[Row] = attrs.field(factory=list)
    alike: dict[Row, dict[int, dict[str, int]]] = attrs.field(factory=dict)
    specs: list[Row] = attrs.field(factory=list)
    gates: list[Row] = attrs.field(factory=list)
    deps: list[Row] = attrs.field(factory=list)
    delayed_at: Micros | None = None
    lanes: dict[tuple[str, str], int] = attrs.field(factory=dict)
    by_id: dict[int, dict[str, int]] = attrs.field(factory=dict)
    by_dedup: dict[int, dict[str, str]] = attrs.field(factory=dict)
    waiting: dict[int, StepStatus] = attrs.field(factory=dict)
    stored_ids: dict[int, dict[str, StoredStep]] = attrs.field(factory=dict)
    stored_names: dict[int, dict[str, StoredStep]] = attrs.field(factory=dict)

    def known(self, run: int, ids: set[str]) -> dict[str, StoredStep]:
        """Return the run's steps that have one of these ids, stored ones and those among the rows."""
        stored, new = self.stored_ids.get(run, {}), self.by_id.get(run, {})
        return {
            **{id: stored[id] for id in ids & stored.keys()},
            **{id: self._new(new[id], id) for id in ids & new.keys()},
        }

    def repeated(self, run: int, names: set[str]) -> dict[str, StoredStep]:
        """Return the run's steps that have one of these dedup names, stored ones and those among the rows."""
        stored, new = self.stored_names.get(run, {}), self.by_dedup.get(run, {})
        return {
            **{name: stored[name] for name in names & stored.keys()},
            **{name: self._new(self.by_id[run][new[name]], new[name]) for name in names & new.keys()},
        }

    def _new(self, key: int, id: str) -> StoredStep:
        return StoredStep(key, id, self.waiting.get(key, StepStatus.READY))


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
        return self._fresh(range(len(self.plan.ids)))

    def _fresh(self, places: range) -> Sequence[int]:
        aliases = self.placed.aliases
        return [place for place in places if place not in aliases] if aliases else places

    def lanes(self) -> set[tuple[str, str]]:
        """Return the queue and kind of each new step."""
        if not self.placed.aliases:
            return {(spec.queue, spec.kind) for spec in self.plan.specs}
        return {(spec.queue, spec.kind) for places, spec in self.plan.numbered() if self._fresh(places)}

    def write(self, rows: GraphRows, shares: int) -> int:
        """Add this graph's rows, whose lanes are known; returns how many edges it has.

        Args:
            shares: from how many steps on those that are alike are one group.
        """
        for places, spec in self.plan.numbered():
            rows.specs += self._specs(places, spec)
            self._write_steps(places, spec, rows, shares)
        if self.parent is not None:
            self._remember(rows)
        count, born = len(self.plan.ids), self.born
        for node, name in enumerate(self.plan.gates, start=count):
            rows.gates.append((self.placed.keys[node], name, born.left[node], born.failed[node]))
        edges = list(self._deps())
        rows.deps += edges
        return len(edges)

    def _write_steps(self, places: range, spec: StepSpec, rows: GraphRows, shares: int) -> None:
        keys, run = self.placed.keys, self.run
        parent = self.parent.key if self.parent is not None else None
        if spec.delay:
            rows.delayed_at = self.now
        if not self._are_alike(places, spec):
            for place in self._fresh(places):
                at = place - places.start
                name = dedup_name(spec.kind, spec.dedup_keys[at]) if spec.dedup_keys is not None else None
                rows.steps.append((keys[place], run, spec.ids[at], *self._shared(place, spec, rows), parent, name))
            return
        shared = self._shared(places.start, spec, rows)
        if len(places) >= shares:
            members = dict(zip(spec.ids, keys[places.start : places.stop]))
            rows.alike.setdefault((run, *shared), {}).setdefault(parent or NOBODY, {}).update(members)
        else:
            rows.steps += [(keys[place], run, id, *shared, parent, None) for place, id in zip(places, spec.ids)]

    def _are_alike(self, places: range, spec: StepSpec) -> bool:
        """Whether these steps, all of them new, differ in nothing but id and key."""
        born = self.born
        if spec.dedup_keys is not None:
            return False
        if born.is_plain or len(places) == 1:
            return True
        some = slice(places.start, places.stop)
        return not born.reason and len(set(zip(born.status[some], born.left[some]))) == 1

    def _shared(self, place: int, spec: StepSpec, rows: GraphRows) -> Row:
        """Return the columns of a step's row that it has in common with those that are like it."""
        status, left, now, delay = self.born.status[place], self.born.left[place], self.now, spec.delay
        how: Row = _READY
        times: Row = (now, now, None, now + delay, now + delay if delay else None)
        if status is not StepStatus.READY:
            how = (status.value, self.born.reason.get(place))
            times = (now, now, now if status.is_ended else None, None, None)
        policy = (int(spec.allow_failure), spec.retry.max_attempts, spec.priority)
        depth = self.parent.depth + 1 if self.parent is not None else 0
        return (rows.lanes[spec.queue, spec.kind], *how, *policy, *times, delay, left, depth)

    def _specs(self, places: range, spec: StepSpec) -> list[Row]:
        keys, aliases = self.placed.keys, self.placed.aliases
        bound = bindings_to_text([(binding, self._places(binding.spans)) for binding in spec.bindings])
        texts = (retry_to_text(spec.retry), spec.timeout, bound, spec.metadata)
        # Of bytes, too, the sqlite3 module asks whether somebody adapts them.
        return [
            (keys[place], *texts, bytearray(hashlib.sha256(body).digest()), bytearray(body))
            for place, body in zip(places, spec.inputs)
            if place not in aliases
        ]

    def _remember(self, rows: GraphRows) -> None:
        """Let plans that are added later find these steps."""
        ids, keys, aliases = self.plan.ids, self.placed.keys, self.placed.aliases
        known, named = rows.by_id.setdefault(self.run, {}), rows.by_dedup.setdefault(self.run, {})
        # An alias has the key of a step that has another id.
        known.update(zip(ids, keys) if not aliases else [(ids[place], keys[place]) for place in self.new])
        for place, (kind, key) in self.plan.dedup_keys().items():
            if place not in aliases:
                named[dedup_name(kind, key)] = ids[place]
        if not self.born.is_plain:
            rows.waiting.update((keys[place], self.born.status[place]) for place in self.new)

    def _places(self, spans: Sequence[Span]) -> list[tuple[int, int]]:
        placed = self.placed
        if not placed.aliases and not any(isinstance(span, str) for span in spans):
            # Without aliases a plan's places are the run's, moved by the first one: no need to list each node.
            base = place_of(placed.keys[0]) if spans else 0
            return [(base + span[0], base + span[1]) for span in spans if not isinstance(span, str)]
        places = [place_of(placed.key(node)) for node in nodes_of(spans)]
        return [span for span in spans_of(places) if not isinstance(span, str)]

    def _deps(self) -> Iterable[tuple[int, int, int]]:
        count, placed = len(self.plan.ids), self.placed
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
        return self._places(spans_of(range(len(self.plan.ids))))


def dedup_name(kind: str, key: str) -> str:
    """Join a kind and a dedup key to the text that is unique in a run."""
    return joined(kind, key)
