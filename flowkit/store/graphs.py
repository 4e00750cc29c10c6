"""A plan becomes rows: ids checked against the run, dependencies counted, gates filled, each step in its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from peewee import Value, fn

from flowkit.errors import GraphError, LimitExceeded, nearest
from flowkit.model.plan import Node, Plan
from flowkit.model.states import StepStatus
from flowkit.store.births import Standing, births
from flowkit.store.clock_mark import ClockMark
from flowkit.store.database import Database, Row, Session
from flowkit.store.graph_rows import (
    COLUMNS,
    LEASED,
    NOBODY,
    SHARED,
    GraphRows,
    NewGraph,
    Parent,
    Placed,
    StoredStep,
    dedup_name,
)
from flowkit.store.keys import MAX_NODES, first_key
from flowkit.store.lanes import Lanes
from flowkit.store.standing import StoredRun
from flowkit.store.statements import insert_into, param, statement
from flowkit.store.tables import Tables
from flowkit.store.tally import Tally

MAX_STEPS = 1_000_000
MAX_EDGES = 5_000_000
MAX_CHILDREN = 10_000
MAX_DEPTH = 1_000

_UNTOUCHED = {"generation": 0, "attempt": 0, "epoch": 0}
"""What a step begins with that nobody has leased."""


class EmitConflict(GraphError):
    """An emitted step's id is taken in its run."""


class Graphs:
    """Adds plans to runs."""

    def __init__(self, db: Database, tables: Tables, lanes: Lanes) -> None:
        self.db = db
        self._t = tables
        self._lanes = lanes
        self._mark = ClockMark(db, tables)

    @statement
    def _by_id(self) -> Any:
        s = self._t.steps
        query = s.select(s.id, s.key, s.id, s.status).where(s.run == param("run"))
        return query.where(self.db.dialect.texts("ids").holds(s.id))

    @statement
    def _by_dedup(self) -> Any:
        s = self._t.steps
        query = s.select(s.dedup_key, s.key, s.id, s.status).where(s.run == param("run"))
        return query.where(self.db.dialect.texts("names").holds(s.dedup_key))

    @statement
    def _some_ids(self) -> Any:
        s = self._t.steps
        return s.select(s.id).where(s.run == param("run")).order_by(s.key).limit(1000)

    @statement
    def _insert_step(self) -> Any:
        return insert_into(self._t.steps, COLUMNS, **_UNTOUCHED)

    @statement
    def _insert_leased(self) -> Any:
        return insert_into(self._t.steps, (*COLUMNS, *LEASED), generation=0, attempt=1, epoch=1)

    @statement
    def _insert_alike(self) -> Any:
        s, members = self._t.steps, self.db.dialect.members("members")
        own = {"key": members.c.number, "id": members.c.text, "parent": fn.NULLIF(members.c.group, NOBODY)}
        same = {name: param(name) for name in ("run", *SHARED)}
        values = own | same | {name: Value(value) for name, value in _UNTOUCHED.items()}
        fields = [getattr(s, name) for name in values]
        return s.insert_from(members.select_from(*values.values()), fields).returning()

    @statement
    def _insert_spec(self) -> Any:
        p = self._t.specs
        # Payloads last: what is read without them then never reads past them.
        return insert_into(p, ("step", "retry", "timeout", "bindings", "metadata", "sha256", "input"))

    @statement
    def _insert_dep(self) -> Any:
        d = self._t.deps
        return insert_into(d, ("target", "waiter", "role"))

    @statement
    def _insert_gate(self) -> Any:
        g = self._t.gates
        return insert_into(g, ("key", "name", "left", "failed"))

    def look_up(self, tx: Session, plans: Sequence[tuple[int, Plan]], rows: GraphRows) -> None:
        """Ask at once for the stored steps whose ids or dedup keys these plans name; each is of a run, by its key."""
        ids: dict[int, set[str]] = {}
        names: dict[int, set[str]] = {}
        for run, plan in plans:
            ids.setdefault(run, set()).update(plan.ids, plan.stored_targets())
            if repeatable := _dedup_names(plan):
                names.setdefault(run, set()).update(repeatable.values())
        for run, asked in ids.items():
            rows.stored_ids[run] = _steps_in(tx.rows(self._by_id, run=run, ids=sorted(asked)))
        for run, asked in names.items():
            rows.stored_names[run] = _steps_in(tx.rows(self._by_dedup, run=run, names=sorted(asked)))

    def add(
        self,
        tx: Session,
        run: StoredRun,
        plan: Plan,
        tally: Tally,
        rows: GraphRows,
        parent: Parent | None = None,
    ) -> NewGraph:
        """Add a plan's steps, gates and edges to a run, and return them as they lie there.

        Args:
            rows: gathers them, for ``write``; a plan that a step emits was looked up in it.

        Raises:
            EmitConflict: a step's id is taken in the run.
            GraphError: the plan points at a step that is not in the run.
            LimitExceeded: too many children, steps, edges or generations.
        """
        change = tally.run(run.key)
        first = run.nodes + change.nodes
        _refuse_excess(run.steps + change.added, run.edges + change.edges, first, plan, parent)
        placed = self._place(tx, run, plan, first, rows)
        known: tuple[Mapping[Any, StoredStep], ...] = (placed.known, placed.aliases)
        standing: dict[Node, Standing] = {node: step for steps in known for node, step in steps.items()}
        graph = NewGraph(run.key, plan, placed, births(plan, standing), parent, tally.now)
        if new := graph.lanes() - rows.lanes.keys():
            rows.lanes |= self._lanes.ids(tx, new)
        change.edges += graph.write(rows, self.db.dialect.shares)
        change.added += len(graph.new)
        change.nodes += len(plan.ids) + len(plan.gates)
        change.opened += len(graph.new) - len(graph.dead())
        change.entries.append(graph.entry())
        return graph

    def write(self, tx: Session, rows: GraphRows, leased: Sequence[Row] = ()) -> None:
        """Write gathered rows, and those of steps that are leased already."""
        tx.many(self._insert_leased, leased)
        tx.many(self._insert_step, rows.steps)
        for (run, *shared), members in rows.alike.items():
            tx.run(self._insert_alike, members=members, run=run, **dict(zip(SHARED, shared)))
        tx.many(self._insert_spec, rows.specs)
        if rows.gates:
            tx.many(self._insert_gate, rows.gates)
        if rows.deps:
            tx.many(self._insert_dep, rows.deps)
        if rows.delayed_at is not None:
            # Else nobody would know that the clock was set back if no worker looked at it before.
            self._mark.reach(tx, rows.delayed_at)

    def _place(self, tx: Session, run: StoredRun, plan: Plan, first: int, rows: GraphRows) -> Placed:
        base = first_key(run.key) + first
        keys = list(range(base, base + len(plan.ids) + len(plan.gates)))
        known: dict[str, StoredStep] = {}
        aliases: dict[int, StoredStep] = {}
        if run.nodes or first:
            names = _dedup_names(plan)
            found = rows.repeated(run.key, set(names.values())) if names else {}
            aliases = {index: found[name] for index, name in names.items() if name in found}
            known = self._known(tx, run, plan, aliases, rows)
            for index, step in aliases.items():
                keys[index] = step.key
        elif plan.stored_targets():
            raise GraphError(f"unknown dependency {min(plan.stored_targets())!r}: the run has no such step")
        return Placed(keys, known, aliases)

    def _known(
        self, tx: Session, run: StoredRun, plan: Plan, aliases: dict[int, StoredStep], rows: GraphRows
    ) -> dict[str, StoredStep]:
        ids = {id for place, id in enumerate(plan.ids) if place not in aliases} if aliases else set(plan.ids)
        wanted = plan.stored_targets()
        found = rows.known(run.key, ids | wanted)
        taken = ids & found.keys()
        if taken:
            raise EmitConflict(f"step id {min(taken)!r} is taken in run {run.id!r}; ids are unique within a run")
        missing = sorted(wanted - found.keys())
        if missing:
            near = nearest(missing[0], [row[0] for row in tx.rows(self._some_ids, run=run.key)])
            raise GraphError(f"unknown dependency {missing[0]!r}: run {run.id!r} has no such step{near}")
        return found


def _dedup_names(plan: Plan) -> dict[int, str]:
    return {place: dedup_name(*named) for place, named in plan.dedup_keys().items()}


def _steps_in(rows: Iterable[Row]) -> dict[str, StoredStep]:
    return {name: StoredStep(key, step_id, StepStatus(status)) for name, key, step_id, status in rows}


def _refuse_excess(steps: int, edges: int, nodes: int, plan: Plan, parent: Parent | None) -> None:
    if parent and len(plan.ids) > MAX_CHILDREN:
        raise LimitExceeded(f"one step emits at most {MAX_CHILDREN} steps, got {len(plan.ids)}")
    if parent and parent.depth + 1 > MAX_DEPTH:
        raise LimitExceeded(f"steps emit steps at most {MAX_DEPTH} deep")
    if steps + len(plan.ids) > MAX_STEPS:
        raise LimitExceeded(f"a run has at most {MAX_STEPS} steps, this would make {steps + len(plan.ids)}")
    if edges + len(plan.edges) > MAX_EDGES:
        raise LimitExceeded(f"a run has at most {MAX_EDGES} edges, this would make {edges + len(plan.edges)}")
    # Declarations that stand for a stored step take a place too; one too many would lie in the next run.
    if nodes + len(plan.ids) + len(plan.gates) > MAX_NODES:
        raise LimitExceeded(f"a run has at most {MAX_NODES} declarations of steps and groups")
