"""What the end of steps does to those that wait for them: promote, or cancel, through edges and gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from peewee import JOIN, Case

from flowkit.model.moves import CASCADE, PROMOTE
from flowkit.store.database import Database, Row, Session
from flowkit.store.keys import run_of
from flowkit.store.statements import Asked, param, statement
from flowkit.store.tables import Tables
from flowkit.store.tally import Tally
from flowkit.store.waiters import Waiter

OPTIONAL, REQUIRED, MEMBER = 0, 1, 2
"""What a waiter's edge says: its target need only end; must succeed; or: the waiter is a gate that counts it."""

Waiting = Callable[[], list[Row]]
"""Gives the edges to what waits for the steps that were asked about, each with what is known of a pending waiter."""


@attrs.define
class _Round:
    """One level of what follows: the edges by which waiters' counts fall, and which waiters die of what."""

    met: list[Row] = attrs.field(factory=list)
    dead: dict[int, int] = attrs.field(factory=dict)


class Propagation:
    """Counters fall, waiters are promoted or canceled: only what waits for the ended steps is looked at."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _edges(self) -> Any:
        d, s = self._t.deps, self._t.steps
        # Gates are no steps, and of a waiter that was canceled nobody wants to know anything.
        pending = (s.key == d.waiter) & self.db.dialect.checked(s.status == "pending")
        identity = (s.id, s.attempt, s.epoch, s.generation)
        query = d.select(d.target, d.waiter, d.role, s.lane, s.deps_left, s.delay, s.priority, *identity)
        return query.join(s, JOIN.LEFT_OUTER, on=pending).where(self.db.dialect.keys("targets").holds(d.target))

    @statement
    def _ids(self) -> Any:
        s = self._t.steps
        return s.select(s.key, s.id).where(self.db.dialect.keys("keys").holds(s.key))

    @statement
    def _count_down_gates(self) -> Any:
        g = self._t.gates
        b = self.db.dialect.batch("members", g.key, "ended", "failed")
        change = {g.left: g.left - b.c.ended, g.failed: g.failed + b.c.failed}
        return g.update(change).from_(b).where(b.is_named).returning(g.key, g.left, g.failed)

    @statement
    def _count_down(self) -> Any:
        s = self._t.steps
        b = self.db.dialect.batch("waiters", s.key, "met")
        met, now = s.deps_left == b.c.met, param("now")
        return (
            s.update(
                {
                    s.deps_left: s.deps_left - b.c.met,
                    s.status: Case(None, [(met, PROMOTE.target.value)], s.status),
                    s.ready_at: Case(None, [(met, now + s.delay)], s.ready_at),
                    s.delayed_until: Case(None, [(met & (s.delay > 0), now + s.delay)], None),
                    s.scheduled_at: now,
                }
            )
            .from_(b)
            .where(b.is_named, self.db.dialect.checked(s.status == "pending"))
        )

    @statement
    def _cancel(self) -> Any:
        s = self._t.steps
        b = self.db.dialect.batch("dead", s.key, "reason", texts={"reason"})
        change = {s.status: CASCADE.target.value, s.reason: b.c.reason, s.ended_at: param("now")}
        pending = self.db.dialect.checked(s.status == "pending")
        return s.update(change).from_(b).where(b.is_named, pending).returning(s.key, s.id, s.reason)

    def asking(self, keys: Sequence[int]) -> Asked:
        """Return the question what waits for these steps."""
        return Asked(self._edges, {"targets": keys})

    def ask(self, tx: Session, keys: Sequence[int]) -> Waiting:
        """Ask what waits for these steps, of which some may be about to end; the answer comes with what ends them."""
        return tx.ahead(self._edges, targets=keys)

    def spread(self, tx: Session, ended: dict[int, bool], tally: Tally, waiting: Waiting | None = None) -> None:
        """Tell everything that waits for the *ended* steps (key to: did it succeed), and what waits for that in turn.

        Args:
            waiting: gives what waits for those steps, and perhaps for others, if that was asked.
        """
        while ended:
            edges = waiting() if waiting is not None else tx.rows(self._edges, targets=list(ended))
            waiting = None
            level = self._look(tx, ended, [edge for edge in edges if edge[0] in ended])
            ended = self._cancel_dead(tx, level.dead, tally) if level.dead else {}
            if level.met:
                self._meet(tx, level, tally)

    def _look(self, tx: Session, ended: dict[int, bool], edges: list[Row]) -> _Round:
        level = _Round()
        members: dict[int, list[int]] = {}
        culprits: dict[int, int] = {}
        # In the order of declaration, so that of several culprits the first is named, however the rows were found.
        for edge in sorted(edges):
            target, waiter, role = edge[:3]
            succeeded = ended[target]
            if role == MEMBER:
                count = members.setdefault(waiter, [0, 0])
                count[0] += 1
                if not succeeded:
                    count[1] += 1
                    culprits.setdefault(waiter, target)
            elif succeeded or role == OPTIONAL:
                level.met.append(edge)
            else:
                level.dead.setdefault(waiter, target)
        if members:
            self._look_through_gates(tx, members, culprits, level)
        return level

    def _look_through_gates(
        self, tx: Session, members: dict[int, list[int]], culprits: dict[int, int], level: _Round
    ) -> None:
        counts = [(gate, *count) for gate, count in members.items()]
        changed = {gate: (left, failed) for gate, left, failed in tx.rows(self._count_down_gates, members=counts)}
        # A gate that is neither complete nor failing for the first time has nothing to tell its waiters.
        telling = [g for g, (left, failed) in changed.items() if left == 0 or failed == members[g][1] > 0]
        if not telling:
            return
        for edge in sorted(tx.rows(self._edges, targets=telling)):
            gate, waiter, role = edge[:3]
            left, failed = changed[gate]
            if role == REQUIRED and failed:
                if gate in culprits:
                    level.dead.setdefault(waiter, culprits[gate])
            elif left == 0:
                level.met.append(edge)

    def _cancel_dead(self, tx: Session, dead: dict[int, int], tally: Tally) -> dict[int, bool]:
        ids: dict[int, str] = dict(tx.rows(self._ids, keys=sorted(set(dead.values()))))
        batch = [(waiter, f"dependency:{ids[target]}") for waiter, target in dead.items()]
        canceled = tx.rows(self._cancel, dead=batch, now=tally.now)
        tally.waiters.drop(key for key, _, _ in canceled)
        for key, step_id, reason in canceled:
            tally.note("step_canceled", key, reason=reason).closed += 1
            tally.tell("step_canceled", run_of(key), step_id=step_id, fields={"reason": reason})
        return {key: False for key, _, _ in canceled}

    def _meet(self, tx: Session, level: _Round, tally: Tally) -> None:
        for _, waiter, _, *known in level.met:
            if known[0] is not None and waiter not in level.dead:
                if not tally.waiters.are_owed:
                    tally.waiters.are_owed = True
                    tally.owe(lambda: self._promote(tx, tally))
                tally.waiters.meet(Waiter(waiter, *known))

    def _promote(self, tx: Session, tally: Tally) -> None:
        """Write what is left to be written of the waiters: those that were leased at once are not among them."""
        tally.promote()
        counts = tally.waiters.take()
        # Perhaps it was written already: what is owed once more is owed to those that were met since.
        if counts:
            tx.later(self._count_down, waiters=counts, now=tally.now)
