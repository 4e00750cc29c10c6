"""Operators' retries: which dead steps come back with the one that is retried, and what they then wait for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import attrs
from peewee import Case

from flowkit.model.moves import REVIVE
from flowkit.model.states import DEAD_STEP, StepStatus
from flowkit.store.database import Database, Session
from flowkit.store.propagate import MEMBER, REQUIRED
from flowkit.store.statements import param, statement
from flowkit.store.tables import Tables

_DEAD = sorted(status.value for status in DEAD_STEP)


@attrs.frozen
class DeadStep:
    """A failed or canceled step."""

    key: int
    id: str
    status: StepStatus
    reason: str | None
    generation: int
    allow_failure: bool


class Revival:
    """Reads and writes of operators' retries; they look only at what depends on the retried steps."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    def _select_dead(self) -> Any:
        s = self._t.steps
        columns = (s.key, s.id, s.status, s.reason, s.generation, s.allow_failure)
        return s.select(*columns).where(s.status.in_(_DEAD))

    @statement
    def _dead(self) -> Any:
        return self._select_dead().where(self.db.dialect.keys("keys").holds(self._t.steps.key))

    @statement
    def _dead_of_run(self) -> Any:
        return self._select_dead().where(self._t.steps.run == param("run"))

    @statement
    def _waiters(self) -> Any:
        d = self._t.deps
        return d.select(d.target, d.waiter, d.role).where(self.db.dialect.keys("keys").holds(d.target))

    @statement
    def _targets(self) -> Any:
        d = self._t.deps
        return d.select(d.target, d.waiter, d.role).where(self.db.dialect.keys("keys").holds(d.waiter))

    @statement
    def _standing(self) -> Any:
        s = self._t.steps
        return s.select(s.key, s.id, s.status).where(self.db.dialect.keys("keys").holds(s.key))

    @statement
    def _revive(self) -> Any:
        s, now = self._t.steps, param("now")
        b = self.db.dialect.batch("revived", s.key, "seen", "left")
        ready = b.c.left == 0
        change = {
            s.status: Case(None, [(ready, "ready")], "pending"),
            s.deps_left: b.c.left,
            s.generation: s.generation + 1,
            s.attempt: 0,
            s.reason: None,
            s.ended_at: None,
            s.ready_at: Case(None, [(ready, now)], None),
            s.scheduled_at: now,
        }
        sources = sorted(status.value for status in REVIVE.sources)
        mine = self.db.dialect.checked(s.status.in_(sources) & (s.generation == b.c.seen))
        return s.update(change).from_(b).where(b.is_named & mine).returning(s.key)

    @statement
    def _recount(self) -> Any:
        s = self._t.steps
        b = self.db.dialect.batch("counts", s.key, "left")
        pending = self.db.dialect.checked(s.status == "pending")
        return s.update({s.deps_left: b.c.left}).from_(b).where(b.is_named & pending)

    @statement
    def _recount_gates(self) -> Any:
        g = self._t.gates
        b = self.db.dialect.batch("counts", g.key, "left", "failed")
        return g.update({g.left: b.c.left, g.failed: b.c.failed}).from_(b).where(b.is_named)

    @statement
    def _repoint(self) -> Any:
        s = self._t.steps
        b = self.db.dialect.batch("reasons", s.key, "reason", texts={"reason"})
        canceled = self.db.dialect.checked(s.status == "canceled")
        return s.update({s.reason: b.c.reason}).from_(b).where(b.is_named & canceled)

    def dead(self, tx: Session, keys: Iterable[int]) -> dict[int, DeadStep]:
        """Return those of the steps that are failed or canceled."""
        rows = tx.rows(self._dead, keys=list(keys))
        return {row[0]: _dead_step(row) for row in rows}

    def dead_of_run(self, tx: Session, run: int) -> dict[int, DeadStep]:
        """Return every failed or canceled step of a run."""
        return {row[0]: _dead_step(row) for row in tx.rows(self._dead_of_run, run=run)}

    def _behind(
        self, tx: Session, nodes: Collection[int]
    ) -> tuple[dict[int, set[int]], dict[int, tuple[str, StepStatus]]]:
        """Return the steps that each node stands for, a gate for its members, a step for itself; and how they stand."""
        gates = self._members(tx, nodes)
        members = {node: gates.get(node, {node}) for node in nodes}
        return members, self.standing(tx, set().union(*members.values()))

    def _members(self, tx: Session, nodes: Collection[int]) -> dict[int, set[int]]:
        members: dict[int, set[int]] = {}
        for target, waiter, role in tx.rows(self._targets, keys=list(nodes)):
            if role == MEMBER:
                members.setdefault(waiter, set()).add(target)
        return members

    def waiters(self, tx: Session, targets: Collection[int], *, required: bool) -> set[int]:
        """Return the steps that wait for any of *targets*, directly or through a gate."""
        rows = tx.rows(self._waiters, keys=list(targets))
        gates = [waiter for _, waiter, role in rows if role == MEMBER]
        rows = [row for row in rows if row[2] != MEMBER]
        if gates:
            rows += tx.rows(self._waiters, keys=gates)
        return {waiter for _, waiter, role in rows if role == REQUIRED or not required}

    def standing(self, tx: Session, keys: Collection[int]) -> dict[int, tuple[str, StepStatus]]:
        """Return the id and status of each step."""
        rows = tx.rows(self._standing, keys=list(keys))
        return {key: (step_id, StepStatus(status)) for key, step_id, status in rows}

    def follow(self, tx: Session, first: dict[int, DeadStep]) -> tuple[dict[int, DeadStep], dict[int, str]]:
        """Return the steps that come back with *first*, and, for those that stay dead, what they now die of.

        A step that was canceled because of a dependency comes back when nothing it requires is dead any more.
        """
        revived, blocked = dict(first), dict[int, str]()
        frontier = set(first)
        while frontier:
            waiting = self.waiters(tx, frontier, required=True) - revived.keys()
            dead = self.dead(tx, waiting)
            candidates = {key: step for key, step in dead.items() if (step.reason or "").startswith("dependency:")}
            frontier = set()
            for key, culprit in self.dead_requirement(tx, candidates, revived).items():
                if culprit is None:
                    revived[key] = candidates[key]
                    blocked.pop(key, None)
                    frontier.add(key)
                else:
                    blocked[key] = f"dependency:{culprit}"
        return revived, blocked

    def dead_requirement(
        self, tx: Session, keys: Collection[int], revived: Collection[int]
    ) -> dict[int, str | None]:
        """Return, for each step, the id of one required dependency that is dead and stays so, or None."""
        rows = tx.rows(self._targets, keys=list(keys))
        required = [(target, waiter) for target, waiter, role in rows if role == REQUIRED]
        members, standing = self._behind(tx, {target for target, _ in required})

        def is_dead(step: int) -> bool:
            return standing[step][1] in DEAD_STEP and step not in revived

        # Of each group once, however many wait for it.
        culprits = {node: min(filter(is_dead, steps), default=None) for node, steps in members.items()}
        first: dict[int, int] = {}
        for target, waiter in required:
            if (culprit := culprits[target]) is not None:
                first[waiter] = min(culprit, first.get(waiter, culprit))
        return {key: standing[first[key]][0] if key in first else None for key in keys}

    def write(self, tx: Session, revived: dict[int, DeadStep], blocked: dict[int, str], now: int) -> int:
        """Bring the steps back, count again what waits for them, and say how many came back."""
        waiting = self.waiters(tx, revived, required=False)
        pending = {k for k, (_, status) in self.standing(tx, waiting).items() if status is StepStatus.PENDING}
        left = self._left(tx, revived.keys() | pending, revived)
        rows = [(key, step.generation, left[key]) for key, step in revived.items()]
        changed = tx.rows(self._revive, revived=rows, now=now)
        tx.run(self._recount, counts=[(key, left[key]) for key in pending if left[key]])
        tx.run(self._repoint, reasons=list(blocked.items()))
        rows = tx.rows(self._waiters, keys=list(revived))
        self.recount_gates(tx, {waiter for _, waiter, role in rows if role == MEMBER})
        return len(changed)

    def _left(self, tx: Session, keys: Collection[int], revived: Collection[int]) -> dict[int, int]:
        rows = tx.rows(self._targets, keys=list(keys))
        members, standing = self._behind(tx, {target for target, _, _ in rows})
        is_open = {
            node: any(step in revived or not standing[step][1].is_ended for step in steps)
            for node, steps in members.items()
        }
        left = dict.fromkeys(keys, 0)
        for target, waiter, _ in rows:
            left[waiter] += is_open[target]
        return left

    def recount_gates(self, tx: Session, gates: Collection[int]) -> None:
        """Count these gates' open and failed members again."""
        members = self._members(tx, gates)
        standing = self.standing(tx, set().union(*members.values())) if members else {}
        counts = []
        for gate, nodes in members.items():
            statuses = [standing[node][1] for node in nodes]
            open_members = sum(not status.is_ended for status in statuses)
            counts.append((gate, open_members, sum(status in DEAD_STEP for status in statuses)))
        tx.run(self._recount_gates, counts=counts)


def _dead_step(row: tuple[Any, ...]) -> DeadStep:
    return DeadStep(row[0], row[1], StepStatus(row[2]), row[3], row[4], bool(row[5]))
