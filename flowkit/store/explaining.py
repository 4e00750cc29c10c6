"""What explaining asks of the store: how a step stands, what it waits for, what is ahead of it, what runs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs
from peewee import fn

from flowkit.clock import Micros
from flowkit.model.states import OPEN_STEP, RunStatus
from flowkit.store.database import Database, Session
from flowkit.store.glances import Candidate
from flowkit.store.statements import param, statement
from flowkit.store.tables import Tables

SHOWN = 20
"""How many steps are named where many are meant."""


@attrs.frozen
class Standing:
    """How a step stands, as far as leasing looks at it.

    Attributes:
        delayed_until: when it comes due, where that was later than when it became ready.
    """

    key: int
    queue: str
    kind: str
    priority: int
    ready_at: Micros | None
    delayed_until: Micros | None
    run_status: RunStatus = attrs.field(converter=RunStatus)

    @property
    def candidate(self) -> Candidate:
        """Return the step as choosing sees it, once it is ready."""
        return Candidate(self.priority, self.ready_at or 0, self.key)


@attrs.frozen
class Listed:
    """The first of some steps, and how many there are in all."""

    names: tuple[str, ...]
    count: int


class Explaining:
    """Reads about one step; an operator's questions, not the hot path's."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _standing(self) -> Any:
        s, r, lane = self._t.steps, self._t.runs, self._t.lanes
        columns = (s.key, lane.queue, lane.kind, s.priority, s.ready_at, s.delayed_until, r.status)
        query = s.select(*columns).join(r, on=(r.key == s.run)).join(lane, on=(lane.id == s.lane))
        return query.where((r.id == param("run_id")) & (s.id == param("step_id")))

    def _open_targets(self, *columns: Any) -> Any:
        s, d = self._t.steps, self._t.deps
        query = s.select(*columns).join(d, on=(d.target == s.key)).where(d.waiter == param("waiter"))
        return query.where(s.status.in_(sorted(status.value for status in OPEN_STEP)))

    def _open_members(self, *columns: Any) -> Any:
        # A gate stands for its members: they are what is really waited for.
        s, g, d, member = self._t.steps, self._t.gates, self._t.deps, self._t.deps.alias()
        query = s.select(*columns).join(member, on=(member.target == s.key)).join(g, on=(g.key == member.waiter))
        query = query.join(d, on=(d.target == g.key)).where(d.waiter == param("waiter"))
        return query.where(s.status.in_(sorted(status.value for status in OPEN_STEP)))

    @statement
    def _blockers(self) -> Any:
        s = self._t.steps
        both = self._open_targets(s.key, s.id).union(self._open_members(s.key, s.id)).alias("b")
        return both.select_from(both.c.id).order_by(both.c.key).limit(SHOWN)

    @statement
    def _blocker_count(self) -> Any:
        s = self._t.steps
        both = self._open_targets(s.key).union(self._open_members(s.key)).alias("b")
        return both.select_from(fn.COUNT(both.c.key))

    def _ahead_of(self, *columns: Any) -> Any:
        s, r = self._t.steps, self._t.runs
        due = s.delayed_until.is_null() | (s.delayed_until <= param("now"))
        tied = s.priority == param("priority")
        older = (s.ready_at < param("ready_at")) | ((s.ready_at == param("ready_at")) & (s.key < param("key")))
        ahead = (s.priority < param("priority")) | (tied & older)
        query = s.select(*columns).join(r, on=(r.key == s.run)).where(s.lane.in_(self.db.dialect.keys("lanes")))
        return query.where((s.status == "ready") & due & ahead)

    @statement
    def _ahead(self) -> Any:
        s, r = self._t.steps, self._t.runs
        return self._ahead_of(r.id, s.id).order_by(s.priority, s.ready_at, s.key).limit(SHOWN)

    @statement
    def _ahead_count(self) -> Any:
        return self._ahead_of(fn.COUNT(self._t.steps.key))

    @statement
    def _running(self) -> Any:
        s, r, lane = self._t.steps, self._t.runs, self._t.lanes
        query = s.select(r.id, s.id).join(r, on=(r.key == s.run)).join(lane, on=(lane.id == s.lane))
        query = query.where((s.status == "running") & (lane.queue == param("queue")))
        return query.order_by(s.started_at, s.key).limit(SHOWN)

    def standing(self, tx: Session, run_id: str, step_id: str) -> Standing:
        """Return how a step that is there stands."""
        row = tx.row(self._standing, run_id=run_id, step_id=step_id)
        assert row is not None, f"step {step_id!r} of run {run_id!r} was read before"
        return Standing(*row)

    def blockers(self, tx: Session, waiter: int) -> Listed:
        """Return the open steps that a pending one waits for, each by its id, gates looked through."""
        names = tuple(row[0] for row in tx.rows(self._blockers, waiter=waiter))
        row = tx.row(self._blocker_count, waiter=waiter)
        return Listed(names, int(row[0]) if row else 0)

    def ahead(self, tx: Session, before: Candidate, lanes: Collection[int], now: Micros) -> Listed:
        """Return the steps of these lanes that choosing takes before this one, as ``run/step``."""
        place = {"priority": before.priority, "ready_at": before.ready_at, "key": before.key}
        where = {"lanes": list(lanes), "now": now, **place}
        row = tx.row(self._ahead_count, **where)
        return Listed(_joined(tx.rows(self._ahead, **where)), int(row[0]) if row else 0)

    def running(self, tx: Session, queue: str) -> tuple[str, ...]:
        """Return the steps that run in a queue, the oldest attempt first, as ``run/step``."""
        return _joined(tx.rows(self._running, queue=queue))


def _joined(rows: list[Any]) -> tuple[str, ...]:
    return tuple(f"{run_id}/{step_id}" for run_id, step_id in rows)
