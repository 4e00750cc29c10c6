"""Steps as callers read them: one, a run's in declaration order, and every attempt at one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from peewee import Value

from flowkit.errors import ConfigError, StepNotFound
from flowkit.model.run import Page
from flowkit.model.states import StepStatus
from flowkit.model.step import Attempt, Step
from flowkit.store.database import Session
from flowkit.store.keys import first_key, last_key
from flowkit.store.lists import texts
from flowkit.store.paging import UNLIMITED, checked_limit, key_at, page_of
from flowkit.store.rows import attempt_columns, attempt_from_row, select_steps, step_from_row
from flowkit.store.statements import param, statement
from flowkit.store.views_runs import RunViews, listed

NAMED, NEAR = 1000, 100
"""Among how many steps of a run that has not the one asked for the nearest is looked for: the first, and those on
either side of it in the order of ids."""

_STATUSES = [status.value for status in StepStatus]
_NOTHING = Value(None)


class StepViews(RunViews):
    """Reads of steps, and of the runs they belong to."""

    @statement
    def _step(self) -> Any:
        s = self._t.steps
        return select_steps(self._t).where((s.run == param("run")) & (s.id == param("id")))

    @statement
    def _steps(self) -> Any:
        s, statuses = self._t.steps, param("statuses", texts)
        shown = s.key.between(param("first"), param("last"))
        shown &= statuses.cast("text").is_null() | s.status.in_(self.db.dialect.texts("statuses"))
        return select_steps(self._t).where(shown).order_by(s.key).limit(param("limit"))

    @statement
    def _step_key(self) -> Any:
        s = self._t.steps
        return s.select(s.key).where((s.run == param("run")) & (s.id == param("id")))

    @statement
    def _some_ids(self) -> Any:
        s = self._t.steps
        return s.select(s.id).where(s.key.between(param("first"), param("last"))).order_by(s.key).limit(NAMED)

    @statement
    def _ids_before(self) -> Any:
        s = self._t.steps
        return s.select(s.id).where((s.run == param("run")) & (s.id < param("id"))).order_by(s.id.desc()).limit(NEAR)

    @statement
    def _ids_after(self) -> Any:
        s = self._t.steps
        return s.select(s.id).where((s.run == param("run")) & (s.id > param("id"))).order_by(s.id).limit(NEAR)

    @statement
    def _closed(self) -> Any:
        a = self._t.attempts
        return a.select(*attempt_columns(a, outcome=a.outcome, error=a.error)).where(a.step == param("step"))

    @statement
    def _committed(self) -> Any:
        res = self._t.results
        return res.select(*attempt_columns(res, outcome=Value("succeeded"), error=_NOTHING)).where(
            res.step == param("step")
        )

    @statement
    def _open(self) -> Any:
        s = self._t.steps
        columns = attempt_columns(s, outcome=_NOTHING, error=_NOTHING, ended_at=_NOTHING)
        return s.select(*columns).where((s.key == param("step")) & (s.status == "running"))

    def _key_of_step(self, tx: Session, run_id: str, step_id: str) -> int:
        run = self._key(tx, run_id)
        row = tx.row(self._step_key, run=run, id=step_id)
        if row is None:
            raise self._no_step(tx, run, run_id, step_id)
        return int(row[0])

    def _no_step(self, tx: Session, run: int, run_id: str, step_id: str) -> StepNotFound:
        rows = tx.rows(self._some_ids, first=first_key(run), last=last_key(run))
        if len(rows) == NAMED:
            # Of a large run these are most likely all of one map; what is misspelled stands beside what was meant.
            for beside in (self._ids_before, self._ids_after):
                rows += tx.rows(beside, run=run, id=step_id)
        return StepNotFound(run_id, step_id, tuple(row[0] for row in rows))

    def step(self, tx: Session, run_id: str, step_id: str) -> Step:
        """Return a step; raises ``RunNotFound`` or ``StepNotFound``, which names the nearest id."""
        run = self._key(tx, run_id)
        row = tx.row(self._step, run=run, id=step_id)
        if row is None:
            raise self._no_step(tx, run, run_id, step_id)
        return step_from_row(run_id, row)

    def steps(
        self,
        tx: Session,
        run_id: str,
        *,
        status: str | Collection[str] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Step]:
        """Return a run's steps in declaration order, all of them where there is no limit; no payload is read.

        Raises:
            RunNotFound: there is none.
            ConfigError: a status, limit or cursor that cannot be; the message names it.
        """
        most = checked_limit("steps", limit) if limit is not None else UNLIMITED - 1
        after = key_at("steps", cursor)
        statuses = listed("steps", status, _STATUSES) if status is not None else None
        run = self._key(tx, run_id)
        first, last = first_key(run), last_key(run)
        if after is not None and not first <= after <= last:
            raise ConfigError(f"steps: cursor: expected one of a page of run {run_id!r}, got {cursor!r}")
        span = {"first": first if after is None else after + 1, "last": last}
        rows = tx.rows(self._steps, statuses=statuses, limit=most + 1, **span)
        return page_of("steps", rows, most, lambda row: step_from_row(run_id, row))

    def attempts(self, tx: Session, run_id: str, step_id: str) -> tuple[Attempt, ...]:
        """Return every attempt at a step in order, the one that runs last; raises ``RunNotFound``, ``StepNotFound``."""
        step = self._key_of_step(tx, run_id, step_id)
        # The open attempt is read first: should it end in between, it is read once more as what it became.
        asked = (self._open, self._closed, self._committed)
        rows = [row for one in asked for row in tx.rows(one, step=step)]
        by_epoch = {attempt.epoch: attempt for attempt in map(attempt_from_row, rows)}
        return tuple(by_epoch[epoch] for epoch in sorted(by_epoch))
