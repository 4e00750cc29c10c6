"""A plan becomes rows: ids checked against the run, dependencies counted, gates filled, each step in its status."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.errors import GraphError, LimitExceeded, nearest
from flowkit.model.names import joined
from flowkit.model.plan import Node, Plan, Span, nodes_of, spans_of
from flowkit.model.states import DEAD_STEP, StepStatus
from flowkit.store.births import Born, Standing, births
from flowkit.store.database import Database, Session
from flowkit.store.keys import MAX_NODES, first_key, place_of
from flowkit.store.lanes import Lanes
from flowkit.store.propagate import MEMBER, OPTIONAL, REQUIRED
from flowkit.store.runs import StoredRun
from flowkit.store.specs import bindings_to_text, retry_to_text
from flowkit.store.statements import insert_into, param, statement
from flowkit.store.tables import Tables
from flowkit.store.tally import Tally

MAX_STEPS = 1_000_000
MAX_EDGES = 5_000_000
MAX_CHILDREN = 10_000
MAX_DEPTH = 1_000


class EmitConflict(GraphError):
    """An emitted step's id is taken in its run."""


@attrs.frozen
class Parent:
    """The step that emits a plan; the steps of a run's start have none."""

    key: int
    depth: int


@attrs.frozen
class StoredStep:
    """A step that is there already, as far as a plan that points at it needs to know."""

    key: int
    id: str
    status: StepStatus


@attrs.define
class _Placed:
    """Where each node of the plan lies: a new key, or, for a repeated ``dedup_key``, that of the first one."""

    keys: list[int]
    known: dict[str, StoredStep]
    aliases: dict[int, StoredStep]

    def key(self, node: Node) -> int:
        return self.keys[node] if isinstance(node, int) else self.known[node].key


class Graphs:
    """Adds plans to runs."""

    def __init__(self, db: Database, tables: Tables, lanes: Lanes) -> None:
        self.db = db
        self._t = tables
        self._lanes = lanes

    @statement
    def _by_id(self) -> Any:
        s = self._t.steps
        query = s.select(s.key, s.id, s.status).where(s.run == param("run"))
        return query.where(s.id.in_(self.db.dialect.texts("ids")))

    @statement
    def _by_dedup(self) -> Any:
        s = self._t.steps
        query = s.select(s.dedup_key, s.key, s.id, s.status).where(s.run == param("run"))
        return query.where(s.dedup_key.in_(self.db.dialect.texts("names")))

    @statement
    def _some_ids(self) -> Any:
        s = self._t.steps
        return s.select(s.id).where(s.run == param("run")).order_by(s.key).limit(1000)

    @statement
    def _insert_step(self) -> Any:
        s = self._t.steps
        names = ("key", "run", "id", "lane", "status", "reason", "allow_failure", "max_attempts", "priority")
        times = ("scheduled_at", "created_at", "ended_at", "ready_at", "delayed_until", "delay")
        rest = ("deps_left", "parent", "depth", "dedup_key")
        return insert_into(s, (*names, *times, *rest), generation=0, attempt=0, epoch=0)

    @statement
    def _insert_spec(self) -> Any:
        p = self._t.specs
        names = ("step", "input", "sha256", "retry", "timeout", "bindings", "metadata")
        return insert_into(p, names)

    @statement
    def _insert_dep(self) -> Any:
        d = self._t.deps
        return insert_into(d, ("target", "waiter", "role"))

    @statement
    def _insert_gate(self) -> Any:
        g = self._t.gates
        return insert_into(g, ("key", "name", "left", "failed"))

    def add(self, tx: Session, run: StoredRun, plan: Plan, tally: Tally, parent: Parent | None = None) -> list[int]:
        """Store a plan's steps, gates and edges; returns the key of each of its steps.

        Raises:
            EmitConflict: a step's id is taken in the run.
            GraphError: the plan points at a step that is not in the run.
            LimitExceeded: too many children, steps, edges or generations.
        """
        change = tally.run(run.key)
        first = run.nodes + change.nodes
        _refuse_excess(run.steps + change.added, run.edges + change.edges, first, plan, parent)
        placed = self._place(tx, run, plan, first)
        known: tuple[Mapping[Any, StoredStep], ...] = (placed.known, placed.aliases)
        standing: dict[Node, Standing] = {node: step for steps in known for node, step in steps.items()}
        born = births(plan, standing)
        new = [index for index in range(len(plan.steps)) if index not in placed.aliases]
        edges = self._write(tx, run, plan, placed, born, new, tally.now, parent)
        change.added += len(new)
        change.nodes += len(plan.steps) + len(plan.gates)
        change.edges += edges
        change.opened += sum(not born.status[index].is_ended for index in new)
        change.entries.append(_added(first, new, born, parent))
        return placed.keys[: len(plan.steps)]

    def _place(self, tx: Session, run: StoredRun, plan: Plan, first: int) -> _Placed:
        base = first_key(run.key) + first
        keys = list(range(base, base + len(plan.steps) + len(plan.gates)))
        known: dict[str, StoredStep] = {}
        aliases: dict[int, StoredStep] = {}
        if run.nodes or first:
            aliases = self._aliases(tx, run.key, plan)
            known = self._known(tx, run, plan, aliases)
            for index, step in aliases.items():
                keys[index] = step.key
        elif plan.stored_targets():
            raise GraphError(f"unknown dependency {min(plan.stored_targets())!r}: the run has no such step")
        return _Placed(keys, known, aliases)

    def _aliases(self, tx: Session, run: int, plan: Plan) -> dict[int, StoredStep]:
        keyed = ((index, spec.kind, spec.dedup_key) for index, spec in enumerate(plan.steps))
        names = {index: dedup_name(kind, key) for index, kind, key in keyed if key is not None}
        if not names:
            return {}
        rows = tx.rows(self._by_dedup, run=run, names=json.dumps(list(names.values())))
        found = {name: StoredStep(key, step_id, StepStatus(status)) for name, key, step_id, status in rows}
        return {index: found[name] for index, name in names.items() if name in found}

    def _known(
        self, tx: Session, run: StoredRun, plan: Plan, aliases: dict[int, StoredStep]
    ) -> dict[str, StoredStep]:
        ids = [step.id for index, step in enumerate(plan.steps) if index not in aliases]
        wanted = plan.stored_targets()
        rows = tx.rows(self._by_id, run=run.key, ids=json.dumps(sorted({*ids, *wanted})))
        found = {step_id: StoredStep(key, step_id, StepStatus(status)) for key, step_id, status in rows}
        for taken in ids:
            if taken in found:
                raise EmitConflict(f"step id {taken!r} is taken in run {run.id!r}; ids are unique within a run")
        missing = sorted(wanted - found.keys())
        if missing:
            near = nearest(missing[0], [row[0] for row in tx.rows(self._some_ids, run=run.key)])
            raise GraphError(f"unknown dependency {missing[0]!r}: run {run.id!r} has no such step{near}")
        return found

    def _write(
        self,
        tx: Session,
        run: StoredRun,
        plan: Plan,
        placed: _Placed,
        born: Born,
        new: Sequence[int],
        now: Micros,
        parent: Parent | None,
    ) -> int:
        lanes = self._lanes.ids(tx, {(plan.steps[index].queue, plan.steps[index].kind) for index in new})
        origin = (parent.key, parent.depth + 1) if parent else (None, 0)
        tx.many(self._insert_step, [_step_row(run.key, plan, placed, born, i, lanes, now, origin) for i in new])
        tx.many(self._insert_spec, [_spec_row(plan, placed, index) for index in new])
        count = len(plan.steps)
        gates = enumerate(plan.gates)
        tx.many(
            self._insert_gate,
            [(placed.keys[count + i], name, born.left[count + i], born.failed[count + i]) for i, name in gates],
        )
        deps = list(_dep_rows(plan, placed))
        tx.many(self._insert_dep, deps)
        return len(deps)


def dedup_name(kind: str, key: str) -> str:
    """Join a kind and a dedup key to the text that is unique in a run."""
    return joined(kind, key)


def _refuse_excess(steps: int, edges: int, nodes: int, plan: Plan, parent: Parent | None) -> None:
    if parent and len(plan.steps) > MAX_CHILDREN:
        raise LimitExceeded(f"one step emits at most {MAX_CHILDREN} steps, got {len(plan.steps)}")
    if parent and parent.depth + 1 > MAX_DEPTH:
        raise LimitExceeded(f"steps emit steps at most {MAX_DEPTH} deep")
    if steps + len(plan.steps) > MAX_STEPS:
        raise LimitExceeded(f"a run has at most {MAX_STEPS} steps, this would make {steps + len(plan.steps)}")
    if edges + len(plan.edges) > MAX_EDGES:
        raise LimitExceeded(f"a run has at most {MAX_EDGES} edges, this would make {edges + len(plan.edges)}")
    # Declarations that stand for a stored step take a place too; one too many would lie in the next run.
    if nodes + len(plan.steps) + len(plan.gates) > MAX_NODES:
        raise LimitExceeded(f"a run has at most {MAX_NODES} declarations of steps and groups")


def _step_row(
    run: int,
    plan: Plan,
    placed: _Placed,
    born: Born,
    index: int,
    lanes: dict[tuple[str, str], int],
    now: Micros,
    origin: tuple[int | None, int],
) -> tuple[Any, ...]:
    spec, status, reason = plan.steps[index], born.status[index], born.reason.get(index)
    is_ready = status is StepStatus.READY
    due = now + spec.delay
    dedup = dedup_name(spec.kind, spec.dedup_key) if spec.dedup_key is not None else None
    identity = (placed.keys[index], run, spec.id, lanes[spec.queue, spec.kind], status.value, reason)
    times = (now, now, now if status.is_ended else None, due if is_ready else None)
    later = due if is_ready and spec.delay else None
    policy = (int(spec.allow_failure), spec.retry.max_attempts, spec.priority)
    return (*identity, *policy, *times, later, spec.delay, born.left[index], *origin, dedup)


def _spec_row(plan: Plan, placed: _Placed, index: int) -> tuple[Any, ...]:
    spec = plan.steps[index]
    bound = [(binding, _places(binding.spans, placed)) for binding in spec.bindings]
    digest = hashlib.sha256(spec.input).digest()
    texts = (retry_to_text(spec.retry), spec.timeout, bindings_to_text(bound), spec.metadata)
    return (placed.keys[index], spec.input, digest, *texts)


def _places(spans: Iterable[Span], placed: _Placed) -> list[list[int]]:
    if not placed.aliases:
        # Without aliases a plan's places are the run's, moved by the first one: no need to list each node.
        base = place_of(placed.keys[0])
        if all(not isinstance(span, str) for span in spans):
            return [[base + span[0], base + span[1]] for span in spans if not isinstance(span, str)]
    places = [place_of(placed.key(node)) for node in nodes_of(spans)]
    return [list(span) for span in spans_of(places) if not isinstance(span, str)]


def _dep_rows(plan: Plan, placed: _Placed) -> Iterable[tuple[int, int, int]]:
    count = len(plan.steps)
    seen: set[tuple[int, int]] = set()
    for edge in sorted(plan.edges, key=lambda edge: not edge.required):
        if edge.waiter in placed.aliases:
            continue
        pair = (placed.key(edge.target), placed.keys[edge.waiter])
        if pair not in seen:
            seen.add(pair)
            role = MEMBER if edge.waiter >= count else REQUIRED if edge.required else OPTIONAL
            yield (*pair, role)


def _added(first: int, new: Sequence[int], born: Born, parent: Parent | None) -> tuple[Any, ...]:
    ready = [first + index for index in new if born.status[index] is StepStatus.READY]
    dead = [first + index for index in new if born.status[index] in DEAD_STEP]
    more: dict[str, Any] = {"ready": spans_of(ready)}
    if dead:
        more["canceled"] = spans_of(dead)
    if parent:
        more["parent"] = place_of(parent.key)
    return ("steps_added", spans_of(first + index for index in new), None, more)
