"""Lanes, one per (queue, kind): what a worker serves, and what is ready in them, best first."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

import attrs
from peewee import SQL, Select, fn

from flowkit.clock import Micros
from flowkit.store.database import Database, Session
from flowkit.store.keys import first_key, last_key
from flowkit.store.statements import insert_into, param, statement
from flowkit.store.tables import Tables


@attrs.frozen
class Lane:
    """A kind in a queue."""

    id: int
    queue: str
    kind: str


@attrs.frozen
class Glance:
    """What a worker with nothing to do wants to know, read with one statement.

    Attributes:
        due_at: when the next delayed step comes due.
        expires_at: when the next lease runs out.
        ready: whether some lane it serves has a step ready, or there are lanes it has not seen.
    """

    due_at: Micros | None
    expires_at: Micros | None
    ready: bool


@attrs.frozen
class Candidate:
    """A ready step, as far as choosing needs to know it."""

    priority: int
    ready_at: Micros
    key: int


class Lanes:
    """Reads and makes lanes; those of a store are remembered, for they never change."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables
        self._known: dict[tuple[str, str], Lane] = {}

    @statement
    def _insert(self) -> Any:
        lane = self._t.lanes
        return insert_into(lane, ("queue", "kind")).on_conflict_ignore()

    @statement
    def _all(self) -> Any:
        lane = self._t.lanes
        return lane.select(lane.id, lane.queue, lane.kind).where(lane.id > param("after"))

    @statement
    def _with_ready_work(self) -> Any:
        s = self._t.steps
        served = Select([fn.json_each(param("lanes"))], [SQL("value").alias("lane")]).alias("l")
        # One seek per lane in the ready index, never a scan: what nobody serves costs nothing.
        head = (
            s.select(s.ready_at)
            .where(s.status == "ready", s.delayed_until.is_null(), s.lane == served.c.lane)
            .order_by(s.priority, s.ready_at)
            .limit(1)
        )
        return Select([served], [served.c.lane, head.alias("since")])

    @statement
    def _peek(self) -> Any:
        s, lane = self._t.steps, self._t.lanes
        served = Select([fn.json_each(param("lanes"))], [SQL("value").alias("lane")]).alias("l")
        ready = s.select(s.key).where(s.status == "ready", s.delayed_until.is_null(), s.lane == served.c.lane)
        due = s.select(fn.MIN(s.delayed_until)).where((s.status == "ready") & s.delayed_until.is_null(False))
        expiry = s.select(fn.MIN(s.expires_at)).where(s.status == "running")
        some = Select([served], [served.c.lane]).where(fn.EXISTS(ready)).limit(1)
        newest = lane.select(fn.COALESCE(fn.MAX(lane.id), 0))
        return Select(columns=[due, expiry, some, newest])

    def _ready(self, *only: Any) -> Any:
        s = self._t.steps
        ready = (s.status == "ready") & s.delayed_until.is_null() & (s.lane == param("lane"))
        for condition in only:
            ready &= condition
        return (
            s.select(s.priority, s.ready_at, s.key)
            .where(ready)
            .order_by(s.priority, s.ready_at, s.key)
            .limit(param("limit"))
        )

    @statement
    def _waiting(self) -> Any:
        s, lane = self._t.steps, self._t.lanes
        of_run = s.key.between(param("first"), param("last")) & (s.status == "ready")
        return lane.select(lane.kind).distinct().join(s, on=(s.lane == lane.id)).where(of_run)

    @statement
    def _candidates(self) -> Any:
        return self._ready()

    @statement
    def _candidates_of_run(self) -> Any:
        # The plus sign keeps the planner on the ready index.
        return self._ready(SQL("+key").between(param("first"), param("last")))

    def ids(self, tx: Session, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return the lane of each (queue, kind), making those that are missing."""
        missing = [pair for pair in pairs if pair not in self._known]
        if missing:
            tx.many(self._insert, missing)
            found = self._read(tx)
            return {pair: found[pair].id for pair in pairs}
        return {pair: self._known[pair].id for pair in pairs}

    def _read(self, tx: Session) -> dict[tuple[str, str], Lane]:
        rows = tx.rows(self._all, after=self._highest())
        if not rows:
            return self._known
        found = {**self._known, **{(queue, kind): Lane(lane, queue, kind) for lane, queue, kind in rows}}

        def remember() -> None:
            self._known = found

        # A transaction that is rolled back takes its lanes along, so only what is committed is remembered.
        tx.after_commit(remember) if tx.writes else remember()
        return found

    def serving(self, tx: Session, kinds: Collection[str]) -> list[Lane]:
        """Return every lane of these kinds, in whatever queue."""
        return [lane for lane in self._read(tx).values() if lane.kind in kinds]

    def glance(self, tx: Session, kinds: Collection[str]) -> Glance:
        """Look, with one statement, whether there may be anything to do."""
        served = [lane.id for lane in self._known.values() if lane.kind in kinds]
        row = tx.row(self._peek, lanes=json.dumps(served))
        assert row is not None
        due, expiry, some, newest = row
        return Glance(due, expiry, some is not None or newest > self._highest())

    def _highest(self) -> int:
        return max((lane.id for lane in self._known.values()), default=0)

    def with_ready_work(self, tx: Session, lanes: Iterable[int]) -> list[int]:
        """Return those of the *lanes* that have a step ready."""
        rows = tx.rows(self._with_ready_work, lanes=json.dumps(list(lanes)))
        return [lane for lane, since in rows if since is not None]

    def waiting_kinds(self, tx: Session, run: int) -> set[str]:
        """Return the kinds of a run's ready steps."""
        return {row[0] for row in tx.rows(self._waiting, first=first_key(run), last=last_key(run))}

    def candidates(self, tx: Session, lane: int, limit: int, run: int | None = None) -> list[Candidate]:
        """Return the best *limit* ready steps of a lane, by priority and then by how long they are ready."""
        if run is None:
            rows = tx.rows(self._candidates, lane=lane, limit=limit)
        else:
            span = {"first": first_key(run), "last": last_key(run)}
            rows = tx.rows(self._candidates_of_run, lane=lane, limit=limit, **span)
        return [Candidate(*row) for row in rows]
