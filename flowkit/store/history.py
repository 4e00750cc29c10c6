"""A run's history: one row per run and transaction, its entries numbered without gaps."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from flowkit.model.events import Event, HistoryEvent
from flowkit.model.states import RunStatus
from flowkit.store.database import Database, Session
from flowkit.store.fold import places_of
from flowkit.store.keys import first_key
from flowkit.store.notices import WORK, ended, ready_in
from flowkit.store.runs import Runs
from flowkit.store.statements import insert_into, param, statement
from flowkit.store.tables import Tables
from flowkit.store.tally import Tally

_written = json.JSONEncoder(check_circular=False).encode


class History:
    """Writes what a tally gathered, and reads it back."""

    def __init__(self, db: Database, tables: Tables, runs: Runs) -> None:
        self.db = db
        self._t = tables
        self._runs = runs

    @statement
    def _insert(self) -> Any:
        h = self._t.history
        names = ("run", "first_seq", "count", "at", "worker", "body")
        return insert_into(h, names)

    @statement
    def _read(self) -> Any:
        h = self._t.history
        columns = (h.first_seq, h.at, h.worker, h.body)
        # A row's entries were committed together, so a number that was read up to is the first of a row.
        return h.select(*columns).where((h.run == param("run")) & (h.first_seq >= param("since"))).order_by(h.first_seq)

    @statement
    def _first(self) -> Any:
        h, r = self._t.history, self._t.runs
        return h.select(h.body).join(r, on=(r.key == h.run)).where((r.id == param("id")) & (h.first_seq == 0))

    @statement
    def _written_at(self) -> Any:
        h, r = self._t.history, self._t.runs
        of_run = (r.id == param("id")) & (h.at == param("at"))
        # The newest first: what is asked about was written just now.
        return h.select(h.count).join(r, on=(r.key == h.run)).where(of_run).order_by(h.first_seq.desc()).limit(1)

    @statement
    def _ids(self) -> Any:
        s = self._t.steps
        return s.select(s.key, s.id).where(s.run == param("run"))

    @statement
    def _some_ids(self) -> Any:
        s = self._t.steps
        return s.select(s.key, s.id).where(self.db.dialect.keys("keys").holds(s.key))

    def close(self, tx: Session, tally: Tally) -> list[Event]:
        """Write the runs' counters and histories: the last thing a transaction does. Returns its events."""
        tally.catch_up()
        if not tally.runs:
            self._announce(tx, tally, [])
            return tally.facts({})
        applied = self._runs.apply(tx, tally)
        ended = []
        for key, one in applied.items():
            if one.end is not None:
                one.change.entries.append(("run_finished", None, None, {"status": one.end.value}))
                told = {"status": one.end, "package": one.run.package}
                tally.tell("run_finished", key, fields={**told, "duration": max(0, tally.now - one.run.created_at)})
                ended.append((one.run.id, one.end))
        self._write(tx, tally, {key: one.run.events for key, one in applied.items()})
        self._announce(tx, tally, ended)
        return tally.facts({key: one.run.id for key, one in applied.items()})

    def begin(self, tx: Session, tally: Tally, runs: Sequence[int]) -> None:
        """Write the first entries of runs that were stored just now, counters and all.

        The first tells of the start, which was no worker's; those that follow, of what a worker has leased already.
        """
        rows: list[Sequence[Any]] = []
        for key in runs:
            start, *more = tally.runs[key].entries
            rows.append((key, 0, 1, tally.mine[key].created_at, None, _written([start])))
            if more:
                rows.append((key, 1, len(more), tally.now, tally.worker_id, _written(more)))
        self._insert_rows(tx, tally, rows, runs)
        for key in runs:
            if not tally.runs.pop(key).opened:
                # Nothing of it is open: the transaction that stores it ends it.
                tally.run(key)

    def _write(self, tx: Session, tally: Tally, first: Mapping[int, int]) -> None:
        rows = [
            (key, number, len(change.entries), tally.now, tally.worker_id, _written(change.entries))
            for key, number in first.items()
            if (change := tally.runs[key]).entries
        ]
        self._insert_rows(tx, tally, rows, first)

    def _insert_rows(self, tx: Session, tally: Tally, rows: Sequence[Sequence[Any]], runs: Collection[int]) -> None:
        tx.many(self._insert, rows)
        if not self.db.dialect.one_writer:
            tally.ready += sum(ready_in(tally.runs[key].entries) for key in runs)

    @staticmethod
    def _announce(tx: Session, tally: Tally, finished: Collection[tuple[str, RunStatus]]) -> None:
        # Who leases all that it makes ready has nothing to tell: then most cycles tell nothing.
        for notice in (*ended(finished), *([WORK] if tally.ready > 0 else [])):
            tx.notify(notice)

    def has(self, tx: Session, event: Event) -> bool:
        """Whether what an event tells of a run is in its history."""
        return event.run_id is None or tx.row(self._written_at, id=event.run_id, at=event.at) is not None

    def read(self, tx: Session, run: int, since: int = 0) -> Iterator[HistoryEvent]:
        """Yield a run's history in order, from the number *since*, which is 0 or follows on one that was read."""
        rows = tx.rows(self._read, run=run, since=since)
        base = first_key(run)
        parsed = [(first, at, worker, json.loads(body)) for first, at, worker, body in rows]
        ids = self._ids_in(tx, run, [entry for *_, entries in parsed for entry in entries], since)
        for first, at, worker, entries in parsed:
            for offset, entry in enumerate(entries):
                yield _event(first + offset, at, worker, entry, ids, base)

    def origin(self, tx: Session, run_id: str) -> dict[str, str]:
        """Return where a run comes from, as it was told when the run was started; nothing of a run that is gone."""
        row = tx.row(self._first, id=run_id)
        entry: list[Any] = json.loads(row[0])[0] if row else []
        found: dict[str, str] = entry[3].get("origin", {}) if len(entry) > 3 else {}
        return found

    def _ids_in(self, tx: Session, run: int, entries: list[list[Any]], since: int) -> dict[int, str]:
        if not since:
            return dict(tx.rows(self._ids, run=run))
        # Of a large run only the steps that the news are about.
        places = {place for entry in entries for place in places_of(entry[1])}
        places |= {entry[3]["parent"] for entry in entries if len(entry) > 3 and "parent" in entry[3]}
        keys = [first_key(run) + place for place in sorted(places)]
        return dict(tx.rows(self._some_ids, keys=keys)) if keys else {}


def _event(
    seq: int, at: int, worker: str | None, entry: list[Any], ids: dict[int, str], first: int
) -> HistoryEvent:
    name, place, epoch = entry[:3]
    fields = dict(entry[3]) if len(entry) > 3 else {}
    if "parent" in fields:
        fields["parent"] = ids.get(first + fields["parent"], "?")
    if isinstance(place, list):
        fields["step_ids"] = [ids.get(first + p, "?") for p in places_of(place)]
    step_id = ids.get(first + place) if isinstance(place, int) else None
    return HistoryEvent(seq, at, name, step_id, epoch, worker, fields)
