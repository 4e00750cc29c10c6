"""Runs as callers read them: one, a page of them, their history, output and errors."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, Union

import attrs
from peewee import fn

from flowkit.clock import Micros
from flowkit.errors import ConfigError, RunNotFound, nearest
from flowkit.model.events import HistoryEvent
from flowkit.model.outcome import StepError
from flowkit.model.run import Page, Run
from flowkit.model.states import RunStatus
from flowkit.store.closing import error_from_text
from flowkit.store.database import Database, Row, Session
from flowkit.store.history import History
from flowkit.store.keys import first_key, last_key
from flowkit.store.lists import texts
from flowkit.store.paging import checked_limit, key_at, page_of
from flowkit.store.rows import missing_error, run_columns, run_from_row
from flowkit.store.statements import Statement, param, statement
from flowkit.store.tables import Tables

Instant = Union[Micros, datetime]
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
OPEN_RUN = [status.value for status in RunStatus if not status.is_ended]
_BATCH = 1000
"""How many runs are read at once where only some of them will be shown."""


@attrs.frozen
class RunFilter:
    """Which runs a listing shows; what is None does not matter.

    Attributes:
        status: one status, or several.
        metadata: every key given here has exactly this JSON value in the run's metadata.
        since, until: the run was created at or after, and before; integer microseconds UTC or an aware datetime.
    """

    status: str | Collection[str] | None = None
    package: str | None = None
    metadata: Mapping[str, Any] | None = None
    since: Instant | None = None
    until: Instant | None = None


EVERY_RUN = RunFilter()


class RunViews:
    """Reads of runs."""

    def __init__(self, db: Database, tables: Tables, history: History) -> None:
        self.db = db
        self._t = tables
        self._history = history

    @statement
    def _run(self) -> Any:
        r, inputs = self._t.runs, self._t.run_inputs
        query = r.select(inputs.body, *run_columns(r)).join(inputs, on=(inputs.run == r.key))
        return query.where(r.id == param("id"))

    @statement
    def _run_key(self) -> Any:
        return self._t.runs.select(self._t.runs.key).where(self._t.runs.id == param("id"))

    def _select_page(self) -> Any:
        r = self._t.runs
        package, statuses = param("package"), param("statuses", texts)
        shown = (r.key < param("before")) & (package.cast("text").is_null() | (r.package == package))
        shown &= statuses.cast("text").is_null() | r.status.in_(self.db.dialect.texts("statuses"))
        shown &= (r.created_at >= param("since")) & (r.created_at < param("until"))
        return r.select(r.key, *run_columns(r)).where(shown).order_by(r.key.desc()).limit(param("limit"))

    @statement
    def _page(self) -> Any:
        return self._select_page()

    @statement
    def _open_page(self) -> Any:
        # Said in the words of the index of open runs: however many have ended, they are not looked at.
        return self._select_page().where(self._t.runs.status.in_(OPEN_RUN))

    @statement
    def _ids_from(self) -> Any:
        r, prefix = self._t.runs, param("prefix")
        # The comparison is for the index alone: it decides where to begin, not what belongs to the answer.
        begins = (r.id >= prefix) & (fn.SUBSTR(r.id, 1, fn.LENGTH(prefix)) == prefix)
        return r.select(r.id).where(begins).order_by(r.id).limit(param("limit"))

    @statement
    def _ids_of(self) -> Any:
        s = self._t.steps
        return s.select(s.key, s.id).where(self.db.dialect.keys("keys").holds(s.key))

    @statement
    def _failed(self) -> Any:
        s, a = self._t.steps, self._t.attempts
        error = a.select(a.error).where((a.step == s.key) & (a.epoch == s.epoch))
        of_run = s.key.between(param("first"), param("last"))
        query = s.select(s.id, error).where(of_run & (s.status == "failed") & (s.allow_failure == 0))
        return query.order_by(s.key)

    def _key(self, tx: Session, run_id: str) -> int:
        row = tx.row(self._run_key, id=run_id)
        if row is None:
            raise RunNotFound(run_id)
        return int(row[0])

    def run(self, tx: Session, run_id: str) -> Run | None:
        """Return a run with its input, if it is there."""
        row = tx.row(self._run, id=run_id)
        return run_from_row(row[1:], row[0]) if row else None

    def runs(
        self, tx: Session, only: RunFilter = EVERY_RUN, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Run]:
        """Return a page of runs, newest first; their inputs are not read.

        Raises:
            ConfigError: a filter, limit or cursor that cannot be; the message names it.
        """
        limit, before = checked_limit("runs", limit), key_at("runs", cursor)
        statuses = _statuses(only.status)
        asked = self._open_page if statuses is not None and set(statuses) <= set(OPEN_RUN) else self._page
        values = {
            "package": only.package,
            "statuses": statuses,
            "since": _micros("since", only.since, 0),
            "until": _micros("until", only.until, 1 << 62),
        }
        entries = _canonical(only.metadata or {}).items()
        rows = self._scan(tx, asked, before, _BATCH if entries else limit + 1, values)
        matching = (row for row in rows if not entries or entries <= _canonical(json.loads(row[5])).items())
        return page_of("runs", list(islice(matching, limit + 1)), limit, lambda row: run_from_row(row[1:]))

    def run_ids(self, tx: Session, prefix: str, *, limit: int) -> tuple[str, ...]:
        """Return the ids that begin with *prefix*, in order; raises ``ConfigError`` for a limit that is none."""
        rows = tx.rows(self._ids_from, prefix=prefix, limit=checked_limit("run_ids", limit))
        return tuple(row[0] for row in rows)

    def _scan(
        self, tx: Session, asked: Statement, before: int | None, batch: int, values: dict[str, Any]
    ) -> Iterator[Row]:
        position = before if before is not None else 1 << 62
        while True:
            rows = tx.rows(asked, before=position, limit=batch, **values)
            yield from rows
            if len(rows) < batch:
                return
            position = rows[-1][0]

    def history(self, tx: Session, run_id: str, since: int = 0) -> tuple[HistoryEvent, ...]:
        """Return what happened in a run, in order, from the event *since* on; raises ``RunNotFound``."""
        return tuple(self._history.read(tx, self._key(tx, run_id), since))

    def ids_at(self, tx: Session, run: int, spans: Collection[tuple[int, int]]) -> list[str]:
        """Return the ids of the steps at these places of a run, in the order of the spans."""
        keys = [first_key(run) + place for first, last in spans for place in range(first, last + 1)]
        ids: dict[int, str] = dict(tx.rows(self._ids_of, keys=keys))
        return [ids[key] for key in keys if key in ids]

    def failed_steps(self, tx: Session, run_id: str) -> dict[str, StepError]:
        """Return why each step failed that made its run fail, in declaration order; raises ``RunNotFound``."""
        run = self._key(tx, run_id)
        rows = tx.rows(self._failed, first=first_key(run), last=last_key(run))
        return {step_id: error_from_text(error) or missing_error(step_id) for step_id, error in rows}


def _statuses(status: str | Collection[str] | None) -> list[str] | None:
    if status is None:
        return None
    return listed("runs", status, [known.value for known in RunStatus])


def listed(listing: str, status: str | Collection[str], known: Collection[str]) -> list[str]:
    """Return one status or several as texts, or raise ``ConfigError`` for one that is none."""
    if not isinstance(status, Iterable):
        raise ConfigError(f"{listing}: status: expected one status or several, got {status!r}")
    texts = []
    for value in [status] if isinstance(status, str) else status:
        if value not in known:
            near = nearest(str(value), known)
            raise ConfigError(f"{listing}: status: expected some of {', '.join(known)}, got {value!r}{near}")
        texts.append(str.__str__(value))
    return texts


def _micros(field: str, value: Instant | None, default: Micros) -> Micros:
    if value is None:
        return default
    if isinstance(value, datetime) and value.tzinfo is not None:
        return (value - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62:
        return value
    raise ConfigError(f"runs: {field}: expected an aware datetime or integer microseconds, got {value!r}")


def _canonical(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, Mapping):
        raise ConfigError(f"runs: metadata: expected a dict, got {metadata!r}")
    try:
        return {key: json.dumps(value, sort_keys=True, allow_nan=False) for key, value in metadata.items()}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"runs: metadata: expected JSON values: {error}") from error
