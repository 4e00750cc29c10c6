"""The workers table: who serves which kinds, from where, and when it was last seen."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from flowkit.model.worker import WorkerInfo
from flowkit.store.database import Database, Row, Session
from flowkit.store.statements import insert_into, statement
from flowkit.store.tables import Tables


class Workers:
    """Reads and writes of workers' presence; no promise hangs on it: leases alone decide who owns a step."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _announce(self) -> Any:
        w = self._t.workers
        names = ("id", "host", "pid", "born", "kinds", "started_at", "seen_at")
        kept = [getattr(w, name) for name in names[1:]]
        return insert_into(w, names).on_conflict(conflict_target=[w.id], preserve=kept)

    @statement
    def _forget(self) -> Any:
        w = self._t.workers
        known = self.db.dialect.claimed(w.select(w.id).where(w.id.in_(self.db.dialect.texts("ids"))))
        return w.delete().where(self.db.dialect.among(w.id, known))

    @statement
    def _all(self) -> Any:
        w = self._t.workers
        return w.select(w.id, w.host, w.pid, w.born, w.kinds, w.started_at, w.seen_at).order_by(w.id)

    def announce(self, tx: Session, worker: WorkerInfo) -> None:
        """Write that a worker is there; one that announced itself under this id before is replaced."""
        identity = {"id": worker.id, "host": worker.host, "pid": worker.pid, "born": worker.born}
        times = {"started_at": worker.started_at, "seen_at": worker.seen_at}
        tx.run(self._announce, kinds=_said_by(worker), **identity, **times)

    def leave(self, tx: Session, worker_id: str) -> None:
        """Remove a worker that stops."""
        self.forget(tx, [worker_id])

    def forget(self, tx: Session, worker_ids: Collection[str]) -> None:
        """Remove workers that are gone."""
        if worker_ids:
            tx.run(self._forget, ids=list(worker_ids))

    def all(self, tx: Session) -> list[WorkerInfo]:
        """Return every worker that announced itself and did not leave, by id; some may have died since."""
        return [_worker_from(row) for row in tx.rows(self._all)]


def _said_by(worker: WorkerInfo) -> str:
    """Write what a worker serves and what it has room for; one column for all, since nothing asks for a part of it."""
    queues = sorted(worker.queues) if worker.queues is not None else None
    said = {"kinds": sorted(worker.kinds), "queues": queues, "slots": worker.slots, "hung": dict(worker.hung)}
    return json.dumps(said)


def _worker_from(row: Row) -> WorkerInfo:
    worker_id, host, pid, born, text, started, seen = row
    said = json.loads(text)
    if isinstance(said, list):
        # Until workers said more of themselves, it was the kinds alone.
        said = {"kinds": said}
    kinds, queues = tuple(said["kinds"]), said.get("queues")
    slots, hung = said.get("slots"), said.get("hung", {})
    queues = tuple(queues) if queues is not None else None
    return WorkerInfo(worker_id, host, pid, born, kinds, started, seen, queues, slots, hung)
