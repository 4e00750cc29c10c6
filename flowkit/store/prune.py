"""Ended runs that nobody needs any more are removed with all that belongs to them, a bounded batch at a time."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from peewee import fn

from flowkit.clock import Micros
from flowkit.errors import ConfigError
from flowkit.model.states import ENDED_RUN
from flowkit.store.database import Database, Session
from flowkit.store.keys import first_key, last_key
from flowkit.store.statements import Statement, param, statement
from flowkit.store.tables import Tables

MAX_BATCH_NODES = 50_000
"""How many steps and gates one transaction removes at most, a single larger run apart: so long it holds up writers."""

ENDED = tuple(sorted(status.value for status in ENDED_RUN))


class Pruning:
    """Removes ended runs."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _due(self) -> Any:
        r = self._t.runs
        old = r.status.in_(self.db.dialect.texts("statuses")) & (r.ended_at < param("older_than"))
        # What somebody retries just now is left out, and asked again whether it has ended.
        return self.db.dialect.claimed(r.select(r.key, r.nodes).where(old).order_by(r.key).limit(param("limit")))

    @statement
    def _count(self) -> Any:
        r = self._t.runs
        old = r.status.in_(self.db.dialect.texts("statuses")) & (r.ended_at < param("older_than"))
        return r.select(fn.COUNT(r.key)).where(old)

    def _delete(self, model: Any, column: Any) -> Any:
        return model.delete().where(column.between(param("first"), param("last")))

    @statement
    def _artifacts(self) -> Any:
        return self._delete(self._t.artifacts, self._t.artifacts.step)

    @statement
    def _records(self) -> Any:
        return self._delete(self._t.records, self._t.records.step)

    @statement
    def _progress(self) -> Any:
        return self._delete(self._t.progress, self._t.progress.step)

    @statement
    def _attempts(self) -> Any:
        return self._delete(self._t.attempts, self._t.attempts.step)

    @statement
    def _results(self) -> Any:
        return self._delete(self._t.results, self._t.results.step)

    @statement
    def _deps(self) -> Any:
        return self._delete(self._t.deps, self._t.deps.target)

    @statement
    def _gates(self) -> Any:
        return self._delete(self._t.gates, self._t.gates.key)

    @statement
    def _specs(self) -> Any:
        return self._delete(self._t.specs, self._t.specs.step)

    @statement
    def _steps(self) -> Any:
        return self._delete(self._t.steps, self._t.steps.key)

    @statement
    def _history(self) -> Any:
        return self._t.history.delete().where(self.db.dialect.keys("keys").holds(self._t.history.run))

    @statement
    def _runs(self) -> Any:
        return self._t.runs.delete().where(self.db.dialect.keys("keys").holds(self._t.runs.key))

    @statement
    def _hashes(self) -> Any:
        art = self._t.artifacts
        return art.select(art.id).where(art.body.is_null()).distinct()

    def _of_nodes(self) -> tuple[Statement, ...]:
        # Children first: what a foreign key points at goes when nothing points at it any more.
        beside = (self._artifacts, self._records, self._progress, self._attempts, self._results)
        return (*beside, self._deps, self._gates, self._specs, self._steps)

    def prune(
        self, tx: Session, *, older_than: Micros, statuses: Collection[str] = ENDED, limit: int = 100
    ) -> int:
        """Remove up to *limit* runs of these statuses that ended before *older_than*; returns how many there were.

        The transaction is kept short, so it may be fewer although there are more: call again until it is 0.

        Raises:
            ConfigError: a status in which a run has not ended.
        """
        for status in statuses:
            if status not in ENDED:
                raise ConfigError(f"prune: statuses: expected some of {', '.join(ENDED)}, got {status!r}")
        texts = [str.__str__(status) for status in statuses]
        due = tx.rows(self._due, statuses=texts, older_than=older_than, limit=limit)
        keys = _bounded(due)
        for key in keys:
            for delete in self._of_nodes():
                tx.run(delete, first=first_key(key), last=last_key(key))
        listed = keys
        tx.run(self._history, keys=listed)
        tx.run(self._runs, keys=listed)
        return len(keys)

    def count(self, tx: Session, *, older_than: Micros, statuses: Collection[str] = ENDED) -> int:
        """Return how many runs of these statuses ended before *older_than*."""
        texts = [str.__str__(status) for status in statuses]
        return int(tx.rows(self._count, statuses=texts, older_than=older_than)[0][0])

    def artifact_hashes(self, tx: Session) -> set[str]:
        """Return the ids of the artifacts outside the store that some run still refers to."""
        return {row[0] for row in tx.rows(self._hashes)}


def _bounded(due: list[tuple[Any, ...]]) -> list[int]:
    keys: list[int] = []
    nodes = 0
    for key, count in due:
        nodes += count
        if keys and nodes > MAX_BATCH_NODES:
            break
        keys.append(key)
    return keys
