"""What an attempt leaves beside its status: result, records and artifacts where it succeeded, its last progress."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.model.outcome import Succeeded
from flowkit.model.outputs import Progress
from flowkit.model.step import Settlement
from flowkit.store.counters import Counters
from flowkit.store.database import Database, Session
from flowkit.store.statements import insert_into, param, statement
from flowkit.store.tables import Tables

Written = tuple[Settlement, Micros, "str | None"]
"""A settlement that succeeded, when it ended, and the places of the steps it emitted."""


class Effects:
    """Writes results and what comes with them; plain INSERTs, for a step has one result ever."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables
        self._counters = Counters(db, tables)

    @statement
    def _result(self) -> Any:
        res = self._t.results
        attempt = ("step", "generation", "epoch", "attempt", "worker", "started_at", "ended_at")
        return insert_into(res, (*attempt, "body", "sha256", "emitted"))

    @statement
    def _record(self) -> Any:
        rec = self._t.records
        names = ("key", "step", "epoch", "collection", "name", "body", "sha256", "created_at")
        insert = insert_into(rec, names)
        kept = [rec.epoch, rec.body, rec.sha256, rec.created_at]
        return insert.on_conflict(conflict_target=[rec.step, rec.collection, rec.name], preserve=kept)

    @statement
    def _artifact(self) -> Any:
        art = self._t.artifacts
        names = ("step", "run", "epoch", "created_at", "id", "name", "kind", "content_type", "size", "sha256", "body")
        insert = insert_into(art, (*names, "metadata", "place"))
        kept = [art.kind, art.content_type, art.size, art.sha256, art.body, art.metadata]
        return insert.on_conflict(conflict_target=[art.step, art.id, art.name], preserve=kept)

    @statement
    def _taken(self) -> Any:
        art = self._t.artifacts
        query = art.select(art.id, art.step).where(art.run == param("run"))
        return query.where(self.db.dialect.texts("ids").holds(art.id))

    @statement
    def _progress(self) -> Any:
        pro = self._t.progress
        insert = insert_into(pro, ("step", "body"))
        return insert.on_conflict(conflict_target=[pro.step], preserve=[pro.body])

    def owners(self, tx: Session, asked: Iterable[tuple[int, list[str]]]) -> dict[tuple[int, str], int]:
        """Return, by run and id, which step has an artifact of one of these ids, each given with its run."""
        wanted: dict[int, set[str]] = {}
        for run, ids in asked:
            if ids:
                wanted.setdefault(run, set()).update(ids)
        rows = {run: tx.rows(self._taken, run=run, ids=sorted(ids)) for run, ids in wanted.items()}
        return {(run, id): step for run, found in rows.items() for id, step in found}

    def write(self, tx: Session, items: Sequence[Written]) -> None:
        """Write all that these successful settlements leave."""
        tx.many(self._result, [_result_row(*item) for item in items])
        more = [item for item in items if _has_more(item[0])]
        if not more:
            return
        records = [row for item in more for row in _record_rows(*item)]
        if records:
            keys = self._counters.take(tx, self._counters.asking("record", len(records)))
            tx.many(self._record, [(key, *row) for key, row in zip(keys, records)])
        tx.many(self._artifact, [row for item in more for row in _artifact_rows(*item)])

    def progress(self, tx: Session, items: Sequence[tuple[int, Progress]]) -> None:
        """Store how far steps say they are, by their keys."""
        # In the order of keys, so that two transactions never wait for each other.
        listed = sorted(items, key=lambda item: item[0])
        tx.many(self._progress, [(key, json.dumps(attrs.asdict(progress))) for key, progress in listed])


def _has_more(settlement: Settlement) -> bool:
    outcome = settlement.outcome
    assert isinstance(outcome, Succeeded)
    return bool(outcome.records or outcome.artifacts)


def _result_row(settlement: Settlement, ended_at: Micros, emitted: str | None) -> tuple[Any, ...]:
    leased, outcome = settlement.leased, settlement.outcome
    assert isinstance(outcome, Succeeded)
    lease = leased.lease
    attempt = (leased.key, leased.generation, lease.epoch, leased.attempt, lease.worker_id)
    # Of bytes the sqlite3 module first asks whether somebody adapts them, which takes longer than to copy them.
    body = outcome.body if outcome.body is None else bytearray(outcome.body)
    digest = outcome.sha256 if outcome.sha256 is None else bytearray(outcome.sha256)
    return (*attempt, lease.acquired_at, ended_at, body, digest, emitted)


def _record_rows(settlement: Settlement, ended_at: Micros, _: str | None) -> list[tuple[Any, ...]]:
    outcome, leased = settlement.outcome, settlement.leased
    assert isinstance(outcome, Succeeded)
    return [
        (leased.key, leased.lease.epoch, r.collection, r.key, r.body, hashlib.sha256(r.body).digest(), ended_at)
        for r in outcome.records
    ]


def _artifact_rows(settlement: Settlement, ended_at: Micros, _: str | None) -> list[tuple[Any, ...]]:
    outcome, leased = settlement.outcome, settlement.leased
    assert isinstance(outcome, Succeeded)
    owner = (leased.key, leased.run_key, leased.lease.epoch, ended_at)
    return [
        (*owner, a.id, a.name, a.kind, a.content_type, a.size, a.sha256, a.body, a.metadata, place)
        for place, a in enumerate(outcome.artifacts)
    ]
