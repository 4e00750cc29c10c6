"""Lanes, one per (queue, kind): what a worker serves, and what is ready in them, best first."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from peewee import JOIN, SQL, Select, Tuple, fn

from flowkit.errors import FlowkitError
from flowkit.store.database import Database, Session
from flowkit.store.glances import NOTHING, AskedBest, AskedGlance, Candidate, Glance, Lane, nothing
from flowkit.store.keys import first_key, last_key, run_of, run_of_node
from flowkit.store.queues import StoredQueue, queue_columns, queue_from
from flowkit.store.statements import Asked, insert_into, param, statement
from flowkit.store.tables import Tables

REACH = 250
"""Among how many ready steps of a lane those of one run, or of others than some, are looked for at first.

Behind the many steps of a large run there may be few others: to walk past all of them would cost ever more."""


class Known:
    """The lanes that are known, by queue and kind and by their numbers; it is replaced as more become known."""

    def __init__(self, lanes: dict[tuple[str, str], Lane]) -> None:
        self.lanes = lanes
        self.by_id = {lane.id: lane for lane in lanes.values()}
        self.highest = max(self.by_id, default=0)


class Lanes:
    """Reads and makes lanes; those of a store are remembered, for they never change."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables
        self._known = Known({})

    @statement
    def _insert(self) -> Any:
        lane = self._t.lanes
        return insert_into(lane, ("queue", "kind")).on_conflict_ignore()

    @statement
    def _insert_in_turn(self) -> Any:
        lane, names = self._t.lanes, ("queue", "kind")
        # Of PostgreSQL's alone. From a lock, so that the number is drawn once that is held; it is given back after the
        # commit can be seen.
        turn = fn.pg_advisory_xact_lock(zlib.crc32(f"lanes {self.db.dialect.namespace}".encode())).alias("turn")
        row = Select([turn], [param(name).cast("text") for name in names])
        return lane.insert_from(row, [getattr(lane, name) for name in names]).on_conflict_ignore().returning()

    @statement
    def _all(self) -> Any:
        lane = self._t.lanes
        return lane.select(lane.id, lane.queue, lane.kind).where(lane.id > param("after"))

    @statement
    def _glance(self) -> Any:
        s, lane, q = self._t.steps, self._t.lanes, self._t.queues
        # One seek per lane in the ready index, never a scan: what nobody serves costs nothing. For EXISTS PostgreSQL
        # would rather make a table of all that is ready.
        ready = s.select(s.key).where(s.status == "ready", s.delayed_until.is_null(), s.lane == lane.id).limit(1)
        query = lane.select(*self._times_columns, lane.id, ready, *queue_columns(q))
        query = query.join(q, JOIN.LEFT_OUTER, on=(q.name == lane.queue))
        return query.where(lane.id.in_(self.db.dialect.keys("lanes")))

    @statement
    def _times(self) -> Any:
        return Select([], self._times_columns)

    @property
    def _times_columns(self) -> list[Any]:
        s, lane = self._t.steps, self._t.lanes.alias()
        due = s.select(fn.MIN(s.delayed_until)).where((s.status == "ready") & s.delayed_until.is_null(False))
        expiry = s.select(fn.MIN(s.expires_at)).where(s.status == "running")
        return [due, expiry, lane.select(fn.COALESCE(fn.MAX(lane.id), 0))]

    def _ready(self, *only: Any) -> Any:
        s = self._t.steps
        return self._best(s.select(s.priority, s.ready_at, s.key).where(self._is_ready, *only))

    @property
    def _is_ready(self) -> Any:
        s = self._t.steps
        return (s.status == "ready") & s.delayed_until.is_null() & (s.lane == param("lane"))

    def _best(self, query: Any, limit: str = "limit") -> Any:
        s = self._t.steps
        return query.order_by(s.priority, s.ready_at, s.key).limit(param(limit))

    def _near(self, only: Callable[[Any], Any], *among: Any) -> Any:
        # Of the first steps alone, as many as are looked at. They come in order, and to ask for that again would have
        # all of them read where the first few are enough.
        s = self._t.steps
        near = self._best(s.select(s.priority, s.ready_at, s.key).where(self._is_ready, *among), "reach").alias("near")
        columns = [near.c.priority, near.c.ready_at, near.c.key]
        return Select([near], columns).where(only(near.c.key)).limit(param("limit"))

    @statement
    def _waiting(self) -> Any:
        s, lane = self._t.steps, self._t.lanes
        of_run = s.key.between(param("first"), param("last")) & (s.status == "ready")
        return lane.select(lane.kind, lane.queue).distinct().join(s, on=(s.lane == lane.id)).where(of_run)

    @statement
    def _candidates(self) -> Any:
        return self._ready()

    @statement
    def _near_of_run(self) -> Any:
        return self._near(lambda key: key.between(param("first"), param("last")))

    @statement
    def _is_far(self) -> Any:
        s = self._t.steps
        return self._best(s.select(s.key).where(self._is_ready), "one").offset(param("reach"))

    @statement
    def _all_of_run(self) -> Any:
        s = self._t.steps
        # So that it goes by key through the steps of the run: no index of what is ready is taken for it.
        ready = fn.COALESCE(self._is_ready, SQL("false"))
        of_run = s.key.between(param("first"), param("last"))
        return self._best(s.select(s.priority, s.ready_at, s.key).where(of_run & ready))

    @statement
    def _candidates_like(self) -> Any:
        s, like = self._t.steps, (param("priority"), param("ready_at"))
        # Compared as rows, so that no other index comes into question than that of what is ready, in its order.
        place = Tuple(s.priority, s.ready_at, s.key)
        return self._ready(place >= Tuple(*like, param("first")), place <= Tuple(*like, param("last")))

    @statement
    def _near_beside(self) -> Any:
        s = self._t.steps
        behind = Tuple(s.priority, s.ready_at, s.key) > Tuple(param("priority"), param("ready_at"), param("key"))
        return self._near(lambda key: run_of_node(key).not_in(self.db.dialect.keys("beside")), behind)

    def ids(self, tx: Session, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return the lane of each (queue, kind), making those that are missing."""
        lanes = self._known.lanes
        missing = [pair for pair in pairs if pair not in lanes]
        if missing:
            lanes = self._make(tx, sorted(missing)).lanes
        return {pair: lanes[pair].id for pair in pairs}

    def _make(self, tx: Session, missing: Sequence[tuple[str, str]]) -> Known:
        if self.db.dialect.one_writer:
            tx.many(self._insert, missing)
            return self._read(tx)
        # Committed at once, each by itself: else two transactions that need the same new lanes wait for each other,
        # for as long as the program leaves one of them open. A lane that nobody uses after all does no harm.
        with self.db.outside() as apart:
            # And in turn: who has read a higher number never reads one that becomes visible later.
            apart.many(self._insert_in_turn, missing)
            return self._read(apart)

    def _read(self, tx: Session) -> Known:
        known = self._known
        rows = tx.rows(self._all, after=known.highest)
        if not rows:
            return known
        found = Known({**known.lanes, **{(queue, kind): Lane(lane, queue, kind) for lane, queue, kind in rows}})

        def remember() -> None:
            self._known = found

        # A transaction that is rolled back takes its lanes along, so only what is committed is remembered.
        if not tx.writes:
            remember()
        else:
            tx.after_commit(self._look if self.db.joins_program() else remember)
        return found

    def _look(self) -> None:
        # What the program's transaction made it may have taken back to a savepoint of its own, and committed the rest.
        # It is committed: no trouble of ours may tell the program otherwise, and whoever asks next looks again.
        with suppress(FlowkitError), self.db.outside() as apart:
            self._read(apart)

    def serving(self, tx: Session, kinds: Collection[str]) -> list[Lane]:
        """Return every lane of these kinds, in whatever queue."""
        return [lane for lane in self._read(tx).lanes.values() if lane.kind in kinds]

    def glance(
        self,
        tx: Session,
        kinds: Collection[str],
        only: Collection[str] | None = None,
        coming: Mapping[int, list[Candidate]] = NOTHING,
        asked: AskedGlance | None = None,
    ) -> Glance:
        """Look, with one statement, what is ready in the lanes of these kinds, and when there will be more to do.

        Args:
            only: look at the lanes of these queues alone.
            coming: by lane, what the transaction at hand makes ready.
            asked: the question, if it was asked already.
        """
        question = asked or self.asking(kinds, only)
        rows, known = tx.answer(question.asked), self._known
        if rows[0][2] > question.highest:
            known = self._read(tx)
            rows = tx.answer(self._asking(known, kinds, only).asked)
        # Where no lane is served, a row says what is true of all, and nothing of a lane.
        shown = [row for row in rows if len(row) > 3 and (row[4] is not None or row[3] in coming)]
        ready = [known.by_id[row[3]] for row in shown]
        queues = {lane.queue: StoredQueue(lane.queue) for lane in ready}
        queues |= {row[5]: queue_from(row[5:]) for row in shown if row[5] is not None}
        empty = {row[3]: nothing for row in shown if row[4] is None}
        return Glance(rows[0][0], rows[0][1], ready, queues, empty, coming)

    def asking(self, kinds: Collection[str], only: Collection[str] | None = None) -> AskedGlance:
        """Return the question for a glance."""
        return self._asking(self._known, kinds, only)

    def _asking(self, known: Known, kinds: Collection[str], only: Collection[str] | None) -> AskedGlance:
        lanes = [
            lane.id for lane in known.lanes.values() if lane.kind in kinds and (only is None or lane.queue in only)
        ]
        asked = Asked(self._glance, {"lanes": lanes}) if lanes else Asked(self._times, {})
        return AskedGlance(asked, known.highest)

    def waiting(self, tx: Session, run: int) -> set[tuple[str, str]]:
        """Return the kind and queue of each of a run's ready steps."""
        return set(tx.rows(self._waiting, first=first_key(run), last=last_key(run)))

    def asking_best(self, lane: int, limit: int, head: Candidate, mine: int | None) -> AskedBest:
        """Return the question for the best steps of a lane.

        Args:
            head: the best one that was seen there the last time.
            mine: of steps that are equally good, those of this run come first, if the best are as good as *head*.
        """
        asked = Asked(self._candidates, {"lane": lane, "limit": limit})
        if mine is None:
            return AskedBest(head, asked)
        span = {"first": first_key(mine), "last": last_key(mine)}
        like = {"priority": head.priority, "ready_at": head.ready_at}
        return AskedBest(head, asked, Asked(self._candidates_like, {"lane": lane, "limit": limit, **span, **like}))

    def candidates(self, tx: Session, lane: int, limit: int, run: int | None = None) -> list[Candidate]:
        """Return the best *limit* ready steps of a lane, by priority and then by how long they are ready.

        Args:
            run: of this run only.
        """
        if run is None:
            return _candidates(tx.rows(self._candidates, lane=lane, limit=limit))
        asked = {"lane": lane, "limit": limit, "first": first_key(run), "last": last_key(run)}
        rows = tx.rows(self._near_of_run, reach=REACH, **asked)
        if len(rows) < limit and tx.row(self._is_far, lane=lane, one=1, reach=REACH):
            # What others have ready is more than is worth looking through, so what this run has is looked through.
            rows = tx.rows(self._all_of_run, **asked)
        return _candidates(rows)

    def beside(
        self, tx: Session, lane: int, limit: int, runs: Collection[int], reach: int, passed: Candidate
    ) -> list[Candidate]:
        """Return up to *limit* steps of none of these runs, among the *reach* ready steps of a lane that come next.

        Args:
            passed: the last step that is known of those before. Others of its run that are as good as it are passed
                over: however many they are, nothing else comes between them.
        """
        behind = passed._replace(key=last_key(run_of(passed.key)))
        asked = {"lane": lane, "limit": limit, "reach": reach, **behind._asdict()}
        return _candidates(tx.rows(self._near_beside, beside=list(runs), **asked))


def _candidates(rows: Sequence[Any]) -> list[Candidate]:
    return list(map(Candidate._make, rows))
