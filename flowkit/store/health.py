"""What a doctor asks of a store: what waits in which lane, which leases nobody takes back, is the file sound."""

from __future__ import annotations

import os
from typing import Any

import attrs
from peewee import fn

from flowkit.clock import Micros
from flowkit.store.database import Database, Row, Session
from flowkit.store.dialect import SQLiteDialect
from flowkit.store.keys import MAX_NODES
from flowkit.store.sqlite import look_through
from flowkit.store.statements import param, statement
from flowkit.store.tables import Tables
from flowkit.store.views_runs import OPEN_RUN

SHOWN = 20
"""How many stuck leases are listed."""

_OPEN_STEP = ("pending", "ready", "running")


@attrs.frozen
class Waiting:
    """The open steps of one kind in one queue: how many there are, and one of them."""

    queue: str
    kind: str
    count: int
    run_id: str
    step_id: str


@attrs.frozen
class StuckLease:
    """A running step whose lease ran out some time ago, and that nobody has taken back."""

    run_id: str
    step_id: str
    kind: str
    worker_id: str
    expired_at: Micros


class Health:
    """Reads alone, and none that a worker makes."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _waiting(self) -> Any:
        s, r, lane = self._t.steps, self._t.runs, self._t.lanes
        first = r.key * MAX_NODES
        of_run = s.key.between(first, first + (MAX_NODES - 1))
        columns = (lane.queue, lane.kind, fn.COUNT(s.key), fn.MIN(s.key))
        # Only open runs have open steps. What is added to the status keeps the planner from reading all steps.
        query = s.select(*columns).join(r, on=of_run).switch(s).join(lane, on=(lane.id == s.lane))
        wanted = r.status.in_(OPEN_RUN) & s.status.concat("").in_(_OPEN_STEP)
        return query.where(wanted).group_by(lane.queue, lane.kind).order_by(lane.queue, lane.kind)

    @statement
    def _named(self) -> Any:
        s, r = self._t.steps, self._t.runs
        return s.select(r.id, s.id).join(r, on=(r.key == s.run)).where(s.key == param("key"))

    @statement
    def _stuck(self) -> Any:
        s, r, lane = self._t.steps, self._t.runs, self._t.lanes
        query = s.select(r.id, s.id, lane.kind, s.worker, s.expires_at).join(r, on=(r.key == s.run)).switch(s)
        expired = (s.status == "running") & (s.expires_at < param("before"))
        return query.join(lane, on=(lane.id == s.lane)).where(expired).order_by(s.expires_at).limit(SHOWN)

    @statement
    def _used(self) -> Any:
        return self._t.lanes.select(self._t.lanes.queue).distinct()

    def waiting(self, tx: Session) -> list[Waiting]:
        """Return how many steps of each kind are open in each queue."""
        return [self._one(tx, row) for row in tx.rows(self._waiting)]

    def _one(self, tx: Session, row: Row) -> Waiting:
        queue, kind, count, key = row
        run_id, step_id = tx.rows(self._named, key=key)[0]
        return Waiting(queue, kind, count, run_id, step_id)

    def stuck(self, tx: Session, before: Micros) -> list[StuckLease]:
        """Return leases that ran out before *before* and still stand, the first of them."""
        return [StuckLease(*row) for row in tx.rows(self._stuck, before=before)]

    def used_queues(self, tx: Session) -> set[str]:
        """Return the queues in which there ever was a step."""
        return {row[0] for row in tx.rows(self._used)}

    def log_bytes(self, tx: Session) -> int:
        """Return how large the write-ahead log beside a SQLite file is; 0 where there is none."""
        if self.db.dialect.name != SQLiteDialect.name:
            return 0
        file = next((row[2] for row in tx.script("PRAGMA database_list") if row[1] == "main"), "")
        try:
            return os.stat(f"{file}-wal").st_size if file else 0
        except OSError:
            return 0

    def damage(self, tx: Session) -> list[str]:
        """Return what the database itself finds wrong with its file; reads all of it.

        Raises:
            DataCorrupted: it is so damaged that it cannot be looked through.
        """
        if self.db.dialect.name != SQLiteDialect.name:
            return []  # a server checks its own pages
        return look_through(tx.script)
