"""Lanes, one per (queue, kind): what a worker serves, and what is ready in them, best first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs
from peewee import JOIN, SQL, Select, Tuple, fn

from flowkit.clock import Micros
from flowkit.store.database import Database, Row, Session
from flowkit.store.keys import first_key, last_key
from flowkit.store.queues import StoredQueue, queue_columns, queue_from
from flowkit.store.statements import insert_into, param, statement
from flowkit.store.tables import Tables

Found = Callable[[], "list[Candidate]"]
"""Gives the best ready steps of a lane, which were asked for before."""


@attrs.frozen
class Lane:
    """A kind in a queue."""

    id: int
    queue: str
    kind: str


@attrs.frozen
class Glance:
    """What a worker wants to know before it leases, or rests, read with one statement.

    Attributes:
        due_at: when the next delayed step comes due.
        expires_at: when the next lease runs out.
        ready: the lanes it serves that have a step ready.
        queues: the queues of those lanes.
        found: by lane, what gives candidates that were asked for with the glance.
    """

    due_at: Micros | None
    expires_at: Micros | None
    ready: list[Lane]
    queues: dict[str, StoredQueue]
    found: Mapping[int, Found] = attrs.field(factory=dict)

    @property
    def served(self) -> list[Lane]:
        """Return the lanes of queues that are not paused."""
        return [lane for lane in self.ready if not self.queues[lane.queue].paused]


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
    def _glance(self) -> Any:
        s, lane, q = self._t.steps, self._t.lanes, self._t.queues
        served = self.db.dialect.batch("lanes", "lane")
        # One seek per lane in the ready index, never a scan: what nobody serves costs nothing. For EXISTS PostgreSQL
        # would rather make a table of all that is ready.
        ready = s.select(s.key).where(s.status == "ready", s.delayed_until.is_null(), s.lane == served.c.lane).limit(1)
        due = s.select(fn.MIN(s.delayed_until)).where((s.status == "ready") & s.delayed_until.is_null(False))
        expiry = s.select(fn.MIN(s.expires_at)).where(s.status == "running")
        newest = lane.select(fn.COALESCE(fn.MAX(lane.id), 0))
        query = Select([served], [due, expiry, newest, served.c.lane, ready, *queue_columns(q)])
        query = query.join(lane, JOIN.LEFT_OUTER, on=(lane.id == served.c.lane))
        return query.join(q, JOIN.LEFT_OUTER, on=(q.name == lane.queue))

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
        return lane.select(lane.kind, lane.queue).distinct().join(s, on=(s.lane == lane.id)).where(of_run)

    @statement
    def _candidates(self) -> Any:
        return self._ready()

    @statement
    def _candidates_of_run(self) -> Any:
        # The plus sign keeps the planner on the ready index.
        return self._ready(SQL("+key").between(param("first"), param("last")))

    @statement
    def _candidates_like(self) -> Any:
        s, like = self._t.steps, (param("priority"), param("ready_at"))
        # Compared as rows, so that no other index comes into question than that of what is ready, in its order.
        place = Tuple(s.priority, s.ready_at, s.key)
        return self._ready(place >= Tuple(*like, param("first")), place <= Tuple(*like, param("last")))

    @statement
    def _candidates_beside(self) -> Any:
        return self._ready(self._t.steps.run.not_in(self.db.dialect.keys("beside")))

    def ids(self, tx: Session, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return the lane of each (queue, kind), making those that are missing."""
        missing = [pair for pair in pairs if pair not in self._known]
        if missing:
            found = self._make(tx, sorted(missing))
            return {pair: found[pair].id for pair in pairs}
        return {pair: self._known[pair].id for pair in pairs}

    def _make(self, tx: Session, missing: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Lane]:
        if self.db.dialect.one_writer:
            tx.many(self._insert, missing)
            return self._read(tx)
        # Committed at once, each by itself: else two transactions that need the same new lanes wait for each other,
        # for as long as the program leaves one of them open. A lane that nobody uses after all does no harm.
        with self.db.outside() as apart:
            apart.many(self._insert, missing)
            return self._read(apart)

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

    def glance(self, tx: Session, kinds: Collection[str], only: Collection[str] | None = None) -> Glance:
        """Look, with one statement, what is ready in the lanes of these kinds, and when there will be more to do.

        Args:
            only: look at the lanes of these queues alone.
        """
        known = self._known
        rows = self._seen(tx, known, kinds, only)
        if rows[0][2] > self._highest():
            known = self._read(tx)
            rows = self._seen(tx, known, kinds, only)
        by_id = {lane.id: lane for lane in known.values()}
        ready = [by_id[row[3]] for row in rows if row[4] is not None]
        queues = {lane.queue: StoredQueue(lane.queue) for lane in ready}
        queues |= {row[5]: queue_from(row[5:]) for row in rows if row[4] is not None and row[5] is not None}
        return Glance(rows[0][0], rows[0][1], ready, queues)

    def _seen(
        self, tx: Session, known: dict[tuple[str, str], Lane], kinds: Collection[str], only: Collection[str] | None
    ) -> list[Row]:
        lanes = [lane for lane in known.values() if lane.kind in kinds and (only is None or lane.queue in only)]
        # No lane has number 0: its row is there even where nothing is served, and says what is true of all.
        return tx.rows(self._glance, lanes=[(0,), *((lane.id,) for lane in lanes)])

    def _highest(self) -> int:
        return max((lane.id for lane in self._known.values()), default=0)

    def waiting(self, tx: Session, run: int) -> set[tuple[str, str]]:
        """Return the kind and queue of each of a run's ready steps."""
        return set(tx.rows(self._waiting, first=first_key(run), last=last_key(run)))

    def ask(self, tx: Session, lane: int, limit: int, head: Candidate, mine: int | None) -> Found:
        """Ask for the candidates of a lane, which come with the next statement.

        Args:
            mine: of steps that are equally good, those of this run come first, if the best are as good as *head*.
        """
        asked = tx.ahead(self._candidates, lane=lane, limit=limit)
        if mine is None:
            return lambda: [Candidate(*row) for row in asked()]
        span = {"first": first_key(mine), "last": last_key(mine)}
        like = {"priority": head.priority, "ready_at": head.ready_at}
        near = tx.ahead(self._candidates_like, lane=lane, limit=limit, **span, **like)

        def found() -> list[Candidate]:
            best, own = asked(), near()
            if own and best and best[0][:2] == (head.priority, head.ready_at):
                best = list(dict.fromkeys([*own, *best]))
            return [Candidate(*row) for row in best]

        return found

    def candidates(
        self, tx: Session, lane: int, limit: int, run: int | None = None, beside: Collection[int] = ()
    ) -> list[Candidate]:
        """Return the best *limit* ready steps of a lane, by priority and then by how long they are ready.

        Args:
            run: of this run only.
            beside: or of none of these.
        """
        if beside:
            rows = tx.rows(self._candidates_beside, lane=lane, limit=limit, beside=list(beside))
        elif run is None:
            rows = tx.rows(self._candidates, lane=lane, limit=limit)
        else:
            span = {"first": first_key(run), "last": last_key(run)}
            rows = tx.rows(self._candidates_of_run, lane=lane, limit=limit, **span)
        return [Candidate(*row) for row in rows]
