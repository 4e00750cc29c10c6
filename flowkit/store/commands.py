"""Operators' commands, each one transaction: cancel a run, retry a step or a run, fence a running step."""

from __future__ import annotations

from typing import Any

from flowkit.errors import InvalidTransition, RunNotFound, StepNotFound
from flowkit.model.events import Event
from flowkit.model.moves import CANCEL, FENCE
from flowkit.model.states import RunStatus, StepStatus
from flowkit.store.closing import ClosedAttempt, Closing
from flowkit.store.database import Database, Session
from flowkit.store.history import History
from flowkit.store.keys import first_key, last_key
from flowkit.store.revive import DeadStep, Revival
from flowkit.store.runs import Runs
from flowkit.store.standing import StoredRun
from flowkit.store.statements import param, statement
from flowkit.store.tables import Tables
from flowkit.store.tally import Tally


class Commands:
    """What operators may do to runs and steps."""

    def __init__(self, db: Database, tables: Tables, runs: Runs, history: History) -> None:
        self.db = db
        self._t = tables
        self._runs = runs
        self._history = history
        self._revival = Revival(db, tables)
        self._closing = Closing(db, tables)

    @statement
    def _step(self) -> Any:
        s = self._t.steps
        columns = (s.key, s.id, s.status, s.reason, s.generation, s.allow_failure)
        return s.select(*columns).where((s.run == param("run")) & (s.id == param("id")))

    @statement
    def _ids(self) -> Any:
        s = self._t.steps
        return s.select(s.id).where(s.run == param("run")).order_by(s.key).limit(1000)

    @statement
    def _cancel_open(self) -> Any:
        s = self._t.steps
        change = {s.status: CANCEL.target.value, s.reason: "run", s.ended_at: param("now"), s.delayed_until: None}
        of_run = s.key.between(param("first"), param("last")) & (s.run == param("run"))
        sources = sorted(status.value for status in CANCEL.sources)
        return s.update(change).where(of_run & s.status.in_(sources)).returning(s.key, s.id)

    @statement
    def _gates(self) -> Any:
        g = self._t.gates
        return g.select(g.key).where(g.key.between(param("first"), param("last")))

    @statement
    def _fence(self) -> Any:
        s, now = self._t.steps, param("now")
        cleared: dict[Any, Any] = dict.fromkeys((s.token, s.worker, s.expires_at, s.started_at, s.delayed_until))
        fresh = {s.status: FENCE.target.value, s.generation: s.generation + 1, s.attempt: 0}
        times = {s.ready_at: now, s.scheduled_at: now}
        mine = (s.key == param("key")) & (s.status == "running") & (s.epoch == param("seen"))
        return s.update({**fresh, **cleared, **times}).where(mine)

    @statement
    def _open_attempt(self) -> Any:
        s = self._t.steps
        columns = (s.key, s.epoch, s.generation, s.attempt, s.worker, s.started_at)
        return s.select(*columns).where(s.key == param("key"))

    def _run(self, tx: Session, run_id: str) -> StoredRun:
        run = self._runs.lock(tx, run_id)
        if run is None:
            raise RunNotFound(run_id)
        return run

    def cancel_run(self, tx: Session, run_id: str, tally: Tally) -> list[Event]:
        """Cancel a run: what waits ends now, what runs is told; the run is canceled when nothing of it runs any more.

        Raises:
            RunNotFound: there is none.
            InvalidTransition: it had ended already.
        """
        run = self._run(tx, run_id)
        if run.status in (RunStatus.CANCELING, RunStatus.CANCELED):
            return []
        if not self._runs.begin_cancel(tx, run.key, tally.now):
            raise InvalidTransition(f"too late: {run.status.value}", run.status)
        span = {"first": first_key(run.key), "last": last_key(run.key)}
        canceled = tx.rows(self._cancel_open, run=run.key, now=tally.now, **span)
        tally.run(run.key).entries.append(("run_canceling", None, None))
        tally.note_many("step_canceled", [key for key, _ in canceled])
        change = tally.run(run.key)
        change.closed, change.canceled_by_run = len(canceled), len(canceled)
        for _, step_id in canceled:
            tally.tell("step_canceled", run.key, step_id=step_id, fields={"reason": "run"})
        self._revival.recount_gates(tx, [row[0] for row in tx.rows(self._gates, **span)])
        tally.tell("run_updated", run.key, fields={"status": RunStatus.CANCELING})
        return self._history.close(tx, tally)

    def retry_step(self, tx: Session, run_id: str, step_id: str, tally: Tally, *, force: bool = False) -> list[Event]:
        """Give a failed or canceled step a fresh budget, and bring back what was canceled because of it.

        Raises:
            RunNotFound, StepNotFound: there is none.
            InvalidTransition: it is not dead, or something it requires is; or the run succeeded or is canceling.
        """
        run = self._run(tx, run_id)
        row = tx.row(self._step, run=run.key, id=step_id)
        if row is None:
            raise StepNotFound(run_id, step_id, tuple(r[0] for r in tx.rows(self._ids, run=run.key)))
        status = StepStatus(row[2])
        if run.status is RunStatus.CANCELING:
            raise InvalidTransition(f"run {run_id!r} is canceling; retry once it is canceled", run.status)
        if status is StepStatus.RUNNING and force:
            return self._fence_step(tx, run, row[0], tally)
        if status.is_ended and status is not StepStatus.SUCCEEDED:
            dead = DeadStep(row[0], row[1], status, row[3], row[4], bool(row[5]))
            return self._bring_back(tx, run, {dead.key: dead}, tally)
        hint = "; force=True fences the attempt that runs" if status is StepStatus.RUNNING else ""
        raise InvalidTransition(f"step {step_id!r} of run {run_id!r} is {status.value}{hint}", status)

    def retry_run(self, tx: Session, run_id: str, tally: Tally) -> list[Event]:
        """Give every failed or canceled step of a run that ended a fresh budget.

        Raises:
            RunNotFound: there is none.
            InvalidTransition: it is not failed or canceled.
        """
        run = self._run(tx, run_id)
        if run.status not in (RunStatus.FAILED, RunStatus.CANCELED):
            message = f"run {run_id!r} is {run.status.value}; only a failed or canceled one can be retried"
            raise InvalidTransition(message, run.status)
        return self._bring_back(tx, run, self._revival.dead_of_run(tx, run.key), tally)

    def _bring_back(self, tx: Session, run: StoredRun, first: dict[int, DeadStep], tally: Tally) -> list[Event]:
        if run.status is RunStatus.SUCCEEDED:
            message = f"run {run.id!r} succeeded; its steps cannot be retried, start another run"
            raise InvalidTransition(message, run.status)
        for key, culprit in self._revival.dead_requirement(tx, first, first).items():
            if culprit is not None:
                step = first[key]
                message = f"step {step.id!r} requires {culprit!r}, which has not succeeded; retry that one"
                raise InvalidTransition(message, step.status)
        revived, blocked = self._revival.follow(tx, first)
        steps = revived.values()
        failed = sum(step.status is StepStatus.FAILED and not step.allow_failure for step in steps)
        by_run = sum(step.reason == "run" for step in steps)
        change = {"opened": len(revived), "failed": failed, "by_run": by_run}
        if not self._runs.reopen(tx, run, now=tally.now, **change):
            raise InvalidTransition(f"run {run.id!r} changed meanwhile; look again", run.status)
        if self._revival.write(tx, revived, blocked, tally.now) != len(revived):
            raise InvalidTransition(f"a step of run {run.id!r} was retried meanwhile; look again", run.status)
        self._note_revived(tx, revived, blocked, tally)
        tally.tell("run_updated", run.key, fields={"status": RunStatus.RUNNING})
        return self._history.close(tx, tally)

    def _note_revived(
        self, tx: Session, revived: dict[int, DeadStep], blocked: dict[int, str], tally: Tally
    ) -> None:
        standing = self._revival.standing(tx, revived)
        for status, name in ((StepStatus.READY, "step_revived"), (StepStatus.PENDING, "step_revived_waiting")):
            tally.note_many(name, [key for key, (_, now) in standing.items() if now is status])
        for key, reason in blocked.items():
            tally.note("step_repointed", key, reason=reason)

    def _fence_step(self, tx: Session, run: StoredRun, key: int, tally: Tally) -> list[Event]:
        row = tx.row(self._open_attempt, key=key)
        assert row is not None
        step, epoch, generation, attempt, worker, started = row
        if tx.run(self._fence, key=key, seen=epoch, now=tally.now) != 1:
            raise InvalidTransition("step is not running any more", None)
        times = (started, max(started, tally.now))
        self._closing.insert(tx, [ClosedAttempt(step, epoch, generation, attempt, worker, *times, "fenced")])
        tally.note("step_fenced", key, epoch)
        tally.tell("run_updated", run.key, fields={"status": run.status})
        return self._history.close(tx, tally)


