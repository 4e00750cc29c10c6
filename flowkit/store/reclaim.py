"""Leases that ran out: given to the next attempt, or failed when the budget is spent; and clocks that were set back."""

from __future__ import annotations

from typing import Any

import attrs
from peewee import Case, fn

from flowkit.clock import Micros
from flowkit.model.limits import BACKWARD_TOLERANCE
from flowkit.model.moves import DISCARD, RECLAIM, RECLAIM_SPENT, Move
from flowkit.model.outcome import WORKER_LOST, StepError
from flowkit.store.clock_mark import ClockMark
from flowkit.store.closing import ClosedAttempt, Closing, error_to_text
from flowkit.store.database import Database, Session
from flowkit.store.runs import Runs
from flowkit.store.specs import retry_from
from flowkit.store.standing import StoredRun
from flowkit.store.statements import Statement, param, statement
from flowkit.store.tables import Tables
from flowkit.store.tally import Tally

BRIEFLY = 0.2
"""Seconds for which a pass waits for a run that is never free when it is asked for."""

BATCH = 500
"""How many expired leases one pass takes back at most."""


@attrs.frozen
class _Expired:
    key: int
    run: int
    id: str
    epoch: int
    generation: int
    attempt: int
    max_attempts: int
    worker: str
    started_at: Micros
    allow_failure: int
    retry: str | None
    run_status: str
    queue: str
    kind: str

    @property
    def move(self) -> Move:
        if self.run_status == "canceling":
            return DISCARD
        return RECLAIM if self.attempt < self.max_attempts else RECLAIM_SPENT


class Reclaim:
    """Takes back what its worker will not settle any more; any process may do it, each lease is taken back once."""

    def __init__(self, db: Database, tables: Tables, runs: Runs) -> None:
        self.db = db
        self._t = tables
        self._runs = runs
        self._closing = Closing(db, tables)
        self._mark = ClockMark(db, tables)

    @statement
    def _expired(self) -> Any:
        s, p, r, lane = self._t.steps, self._t.specs, self._t.runs, self._t.lanes
        columns = (s.key, s.run, s.id, s.epoch, s.generation, s.attempt, s.max_attempts, s.worker, s.started_at)
        query = s.select(*columns, s.allow_failure, p.retry, r.status, lane.queue, lane.kind)
        joined = query.join(p, on=(p.step == s.key)).switch(s).join(r, on=(r.key == s.run))
        joined = joined.switch(s).join(lane, on=(lane.id == s.lane))
        expired = joined.where((s.status == "running") & (s.expires_at <= param("now")))
        return expired.order_by(s.expires_at).limit(BATCH)

    def _take_back(self, move: Move, change: dict[Any, Any]) -> Any:
        s = self._t.steps
        b = self.db.dialect.batch("seen", s.key, "epoch", "at")
        cleared: dict[Any, Any] = dict.fromkeys((s.token, s.worker, s.expires_at, s.started_at))
        # Whether it is still expired is asked again here, not taken from the list that was read before.
        still = b.is_named & self.db.dialect.checked(
            (s.status == "running") & (s.epoch == b.c.epoch) & (s.expires_at <= param("now"))
        )
        return s.update({s.status: move.target.value, **cleared, **change}).from_(b).where(still).returning(s.key)

    def _taking_back(self, move: Move) -> Statement:
        if move is RECLAIM:
            return self._again
        return self._spent if move is RECLAIM_SPENT else self._discarded

    @property
    def _at(self) -> Any:
        return self.db.dialect.batch("seen", self._t.steps.key, "epoch", "at").c.at

    @statement
    def _again(self) -> Any:
        s, now = self._t.steps, param("now")
        later = Case(None, [(self._at > now, self._at)], None)
        return self._take_back(RECLAIM, {s.ready_at: self._at, s.delayed_until: later, s.scheduled_at: now})

    @statement
    def _spent(self) -> Any:
        return self._take_back(RECLAIM_SPENT, {self._t.steps.ended_at: param("now")})

    @statement
    def _discarded(self) -> Any:
        s = self._t.steps
        return self._take_back(DISCARD, {s.ended_at: param("now"), s.reason: "run"})

    @statement
    def _come_due(self) -> Any:
        s = self._t.steps
        due = s.select(s.key).where((s.status == "ready") & (s.delayed_until <= param("now")))
        due = self.db.dialect.claimed(due.order_by(s.delayed_until).limit(BATCH * 4))
        return s.update({s.delayed_until: None}).where(self.db.dialect.among(s.key, due) & (s.status == "ready"))

    @statement
    def _last_timed(self) -> Any:
        s = self._t.steps
        return s.select(fn.COALESCE(fn.MAX(s.scheduled_at), 0)).where(s.status == "running")

    @statement
    def _rebase_leases(self) -> Any:
        s, now = self._t.steps, param("now")
        change = {s.expires_at: now + s.expires_at - s.scheduled_at, s.started_at: now, s.scheduled_at: now}
        return s.update(change).where((s.status == "running") & (s.scheduled_at > param("limit")))

    @statement
    def _rebase_delays(self) -> Any:
        s, now = self._t.steps, param("now")
        later = now + s.delayed_until - s.scheduled_at
        change = {s.delayed_until: later, s.ready_at: later, s.scheduled_at: now}
        waiting = (s.status == "ready") & s.delayed_until.is_null(False)
        return s.update(change).where(waiting & (s.scheduled_at > param("limit")))

    @statement
    def _rebase_buckets(self) -> Any:
        q = self._t.queues
        return q.update({q.refilled_at: param("now")}).where(q.refilled_at > param("limit"))

    def expired(self, tx: Session, tally: Tally, *, waits: bool = False) -> tuple[dict[int, bool], bool]:
        """Take back every expired lease of the runs that are not locked by others.

        Args:
            waits: wait for those that are; for a transaction that has locked nothing yet.

        Returns the steps that ended by it, for what waits for them; and whether a locked run was left out.
        """
        found = [_Expired(*row) for row in tx.rows(self._expired, now=tally.now)]
        runs = {step.run for step in found}
        mine: dict[int, StoredRun] = {}
        if runs and waits:
            # Meanwhile the worker settles and leases nothing, and a program may leave its transaction open for long.
            tx.wait_at_most(BRIEFLY)
            mine = self._runs.standing(tx, self._runs.ask_standing(runs))
        elif runs:
            mine = self._runs.claim(tx, runs)
        tally.mine |= mine
        if runs and not self.db.dialect.one_writer:
            # Before its run was locked, a step may have been settled, and the run canceled.
            found = [step for row in tx.rows(self._expired, now=tally.now) if (step := _Expired(*row)).run in mine]
        return self._expire(tx, found, tally), len(mine) < len(runs)

    def _expire(self, tx: Session, found: list[_Expired], tally: Tally) -> dict[int, bool]:
        ended: dict[int, bool] = {}
        for move in (RECLAIM, RECLAIM_SPENT, DISCARD):
            group = [step for step in found if step.move is move]
            if not group:
                continue
            seen = [(step.key, step.epoch, _again_at(step, tally.now)) for step in group]
            taken = {row[0] for row in tx.rows(self._taking_back(move), seen=seen, now=tally.now)}
            tally.stirred = tally.stirred or bool(taken)
            for step in group:
                if step.key in taken:
                    self._close(tx, step, move, tally)
                    if move.target.is_ended:
                        ended[step.key] = False
        return ended

    def _close(self, tx: Session, step: _Expired, move: Move, tally: Tally) -> None:
        message = f"worker {step.worker!r} lost its lease on attempt {step.attempt} of {step.max_attempts}"
        error = StepError(WORKER_LOST, message, retryable=move is RECLAIM, occurred_at=tally.now)
        name, text = ("discarded", None) if move is DISCARD else ("lost", error_to_text(error))
        times = (step.started_at, max(step.started_at, tally.now))
        identity = (step.key, step.epoch, step.generation, step.attempt, step.worker)
        self._closing.insert(tx, [ClosedAttempt(*identity, *times, name, text)])
        noted = {RECLAIM: "step_reclaimed", RECLAIM_SPENT: "step_lost", DISCARD: "step_discarded"}[move]
        change = tally.note(noted, step.key, step.epoch)
        change.closed += int(move.target.is_ended)
        change.failed += int(move is RECLAIM_SPENT and not step.allow_failure)
        change.canceled_by_run += int(move is DISCARD)
        what = {"kind": step.kind, "queue": step.queue}
        known = {"step_id": step.id, "attempt": step.attempt, "worker_id": step.worker, **what}
        tally.tell("lease_expired", step.run, fields={"moved_to": move.target.value}, **known)
        if move is RECLAIM_SPENT:
            tally.tell("step_failed", step.run, fields={"code": WORKER_LOST, "message": message}, **known)

    def come_due(self, tx: Session, now: Micros) -> int:
        """Move steps whose time has come among those that leasing sees."""
        return tx.run(self._come_due, now=now)

    def keep_time(self, tx: Session, now: Micros, *, distrusts: bool) -> Micros | None:
        """Remember the highest time seen; after a step back of more than 5 s, re-base what was timed before it.

        Args:
            distrusts: look at the leases too, which are extended without leaving a mark.

        Returns by how much the clock went back, or None.
        """
        high = self._mark.read(tx)
        if distrusts:
            high = max(high, tx.rows(self._last_timed)[0][0])
        if now > high:
            self._mark.set(tx, now)
            return None
        if high - now <= BACKWARD_TOLERANCE:
            return None
        # Rows that were timed before the step are known one by one, so hosts whose clocks differ do no harm twice.
        limit = now + BACKWARD_TOLERANCE
        tx.run(self._rebase_leases, now=now, limit=limit)
        tx.run(self._rebase_delays, now=now, limit=limit)
        # Otherwise an empty bucket would stay empty until the clock is again where it was.
        tx.run(self._rebase_buckets, now=now, limit=limit)
        self._mark.set(tx, now)
        return high - now


def _again_at(step: _Expired, now: Micros) -> Micros:
    return now + retry_from(step.retry).delay_after(step.attempt)
