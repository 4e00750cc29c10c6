"""The runs table: found by id, created, counted, canceled; every change of a run's status is here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Any

import attrs
from peewee import fn

from flowkit.clock import Micros
from flowkit.model.run import derive_status
from flowkit.model.states import ENDED_RUN, RunStatus
from flowkit.model.struct import struct
from flowkit.store.counters import Counters
from flowkit.store.database import Database, Session
from flowkit.store.standing import StoredRun, stored
from flowkit.store.statements import Asked, Statement, insert_into, param, statement
from flowkit.store.tables import Tables
from flowkit.store.tally import RunChange, Tally

_COUNTS = ("added", "nodes", "edges", "opened", "closed", "failed", "by_run", "events")
_ENDED = sorted(status.value for status in ENDED_RUN)


@struct
class NewRun:
    """A run about to be stored.

    Attributes:
        origin: where it comes from, such as a trace; its history begins with it.
    """

    id: str
    package: str
    name: str | None
    metadata: str
    input: bytes
    input_sha256: bytes
    output: str | None
    origin: Mapping[str, str] = attrs.field(factory=dict)


Begun = tuple[StoredRun, NewRun, RunChange]
"""A new run with its key, what was asked for, and what it begins with."""


@struct
class Applied:
    """A run that a transaction changed: how it stood before, the change, and how it ended by it, if it did."""

    run: StoredRun
    change: RunChange
    end: RunStatus | None


class Runs:
    """Reads and writes of runs."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables
        self._counters = Counters(db, tables)

    def _select(self) -> Any:
        r = self._t.runs
        graph = (r.nodes, r.steps, r.edges, r.generation)
        counts = (r.open_steps, r.failed_steps, r.canceled_by_run, r.events)
        return r.select(r.key, r.id, r.package, r.status, *graph, r.input_sha256, r.name, *counts, r.created_at)

    @property
    def _is_open(self) -> Any:
        # For NOT IN with three or more, SQLite makes and fills a table whenever it asks.
        return reduce(and_, (self._t.runs.status != status for status in _ENDED))

    @statement
    def _by_id(self) -> Any:
        return self._select().where(self._t.runs.id == param("id"))

    @statement
    def _by_id_locked(self) -> Any:
        return self.db.dialect.locked(self._select().where(self._t.runs.id == param("id")))

    @statement
    def _by_key_locked(self) -> Any:
        r = self._t.runs
        return self.db.dialect.locked(self._select().where(r.key.in_(self.db.dialect.keys("keys"))).order_by(r.key))

    @statement
    def _claim(self) -> Any:
        return self.db.dialect.claimed(self._select().where(self._t.runs.key.in_(self.db.dialect.keys("keys"))))

    @statement
    def _reserve(self) -> Any:
        return self.db.dialect.alone("ids")

    @statement
    def _insert(self) -> Any:
        r = self._t.runs
        names = ("key", "id", "package", "name", "metadata", "input_sha256", "output", "created_at", "updated_at")
        counters = ("nodes", "steps", "edges", "open_steps", "events")
        zero = dict.fromkeys(("failed_steps", "canceled_by_run", "generation"), 0)
        return insert_into(r, (*names, *counters, "status", "started_at"), **zero)

    @statement
    def _insert_input(self) -> Any:
        return insert_into(self._t.run_inputs, ("run", "body"))

    @statement
    def _count(self) -> Any:
        # The status is not among what is set: it would rewrite the index of open runs with every count.
        return self._change(self._changes(), {}, self._is_open)

    @statement
    def _begin(self) -> Any:
        r = self._t.runs
        change = {r.status: "running", r.started_at: fn.COALESCE(r.started_at, param("now"))}
        return self._change(self._changes(), change, r.status == "pending")

    @statement
    def _end(self) -> Any:
        r, b = self._t.runs, self._changes("status")
        over = (r.open_steps + b.c.opened - b.c.closed == 0) & self._is_open
        return self._change(b, {r.status: b.c.status, r.ended_at: param("now")}, over)

    def _changes(self, *texts: str) -> Any:
        return self.db.dialect.batch("changes", self._t.runs.key, *_COUNTS, *texts, texts=texts)

    def _change(self, b: Any, change: dict[Any, Any], guard: Any) -> Any:
        r = self._t.runs
        counted = {
            r.steps: r.steps + b.c.added,
            r.nodes: r.nodes + b.c.nodes,
            r.edges: r.edges + b.c.edges,
            r.open_steps: r.open_steps + b.c.opened - b.c.closed,
            r.failed_steps: r.failed_steps + b.c.failed,
            r.canceled_by_run: r.canceled_by_run + b.c.by_run,
            r.events: r.events + b.c.events,
            r.updated_at: param("now"),
        }
        return r.update({**counted, **change}).from_(b).where(b.is_named & self.db.dialect.checked(guard))

    @statement
    def _cancel(self) -> Any:
        r, now = self._t.runs, param("now")
        return r.update({r.status: "canceling", r.cancel_requested_at: now, r.updated_at: now}).where(
            (r.key == param("key")) & r.status.in_(["pending", "running"])
        )

    @statement
    def _reopen(self) -> Any:
        r = self._t.runs
        change = {
            r.status: "running",
            r.ended_at: None,
            r.updated_at: param("now"),
            r.cancel_requested_at: None,
            r.generation: r.generation + 1,
            r.open_steps: r.open_steps + param("opened"),
            r.failed_steps: r.failed_steps - param("failed"),
            r.canceled_by_run: r.canceled_by_run - param("by_run"),
        }
        allowed = r.status.in_(["pending", "running", "failed", "canceled"])
        return r.update(change).where((r.key == param("key")) & (r.generation == param("seen")) & allowed)

    def find(self, tx: Session, run_id: str) -> StoredRun | None:
        """Return the run with this id, if there is one."""
        row = tx.row(self._by_id, id=run_id)
        return stored(row) if row else None

    def reserve(self, tx: Session, run_ids: Iterable[str]) -> None:
        """Let nobody else start runs of these ids until the transaction ends, so that who finds none may start one."""
        listed = sorted(run_ids)
        if listed and not self.db.dialect.one_writer:
            tx.rows(self._reserve, ids=listed)

    def lock(self, tx: Session, run_id: str) -> StoredRun | None:
        """Return the run with this id, and let nobody else change it or its steps until the transaction ends."""
        row = tx.row(self._by_id_locked, id=run_id)
        return stored(row) if row else None

    def ask_standing(self, keys: Iterable[int]) -> Asked:
        """Return the question how these runs stand, for ``standing``."""
        return Asked(self._by_key_locked, {"keys": sorted(keys)})

    def standing(self, tx: Session, asked: Asked) -> dict[int, StoredRun]:
        """Return how runs stand, a pruned one is missing; they are locked as by ``lock``, in order."""
        # Whoever waits for a run holds, of runs, lower keys only, and nothing else: so nobody waits in a circle.
        return {row[0]: stored(row) for row in tx.answer(asked)}

    def claim(self, tx: Session, keys: Iterable[int]) -> dict[int, StoredRun]:
        """Lock those of the runs that nobody else has locked, without waiting, and return how they stand."""
        return {row[0]: stored(row) for row in tx.rows(self._claim, keys=sorted(keys))}

    def ask_keys(self, count: int) -> Asked:
        """Return the question for the keys of so many new runs, for ``keys``."""
        return self._counters.asking("run", count)

    def keys(self, tx: Session, asked: Asked, new: Sequence[NewRun], now: Micros) -> list[StoredRun]:
        """Give new runs their keys; they are stored once it is known what they begin with."""
        keys, graph, counts = self._counters.take(tx, asked), (0, 0, 0, 0), (0, 0, 0, 0)
        return [
            StoredRun(key, run.id, run.package, RunStatus.PENDING, *graph, run.input_sha256, run.name, *counts, now)
            for key, run in zip(keys, new)
        ]

    def insert(self, tx: Session, new: Sequence[Begun], now: Micros) -> None:
        """Store new runs with what they begin with; their steps come in the same transaction."""
        tx.many(self._insert, [_row(*begun, now) for begun in new])
        tx.many(self._insert_input, [(run.key, asked.input) for run, asked, _ in new])

    def begin_cancel(self, tx: Session, key: int, now: Micros) -> bool:
        """Make a run canceling; False if it was not pending or running any more."""
        return tx.run(self._cancel, key=key, now=now) == 1

    def reopen(self, tx: Session, run: StoredRun, *, opened: int, failed: int, by_run: int, now: Micros) -> bool:
        """Make a run go on with *opened* revived steps; False if it changed since it was read."""
        values = {"opened": opened, "failed": failed, "by_run": by_run, "now": now}
        return tx.run(self._reopen, key=run.key, seen=run.generation, **values) == 1

    def apply(self, tx: Session, tally: Tally) -> dict[int, Applied]:
        """Write what the transaction changed in each run, and end those of which no step is open; returns these runs.

        They are locked, so what their rows will be is known beforehand, and nobody waits for an answer.
        """
        standing = {key: run for key, run in tally.mine.items() if key in tally.runs}
        unknown = tally.runs.keys() - standing.keys()
        if unknown:
            standing |= self.standing(tx, self.ask_standing(unknown))
        applied = {
            key: Applied(run, change, _end_of(run, change))
            for key, change in tally.runs.items()
            if (run := standing.get(key)) is not None and not run.status.is_ended
        }
        groups: dict[Statement, list[tuple[Any, ...]]] = {}
        for key, one in applied.items():
            c = one.change
            row = (key, c.added, c.nodes, c.edges, c.opened, c.closed, c.failed, c.canceled_by_run, len(c.entries))
            if one.end is not None:
                # The entry that says so is still to come.
                groups.setdefault(self._end, []).append((*row[:-1], row[-1] + 1, one.end.value))
            else:
                begins = c.started and one.run.status is RunStatus.PENDING
                groups.setdefault(self._begin if begins else self._count, []).append(row)
        for changes, rows in groups.items():
            tx.later(changes, changes=rows, now=tally.now)
        return applied


def _end_of(run: StoredRun, change: RunChange) -> RunStatus | None:
    """Return how a run ends by a change; None while a step of it is open."""
    if run.open_steps + change.opened - change.closed:
        return None
    failed, canceled = run.failed_steps + change.failed, run.canceled_by_run + change.canceled_by_run
    return derive_status(failed, canceled, canceling=run.status is RunStatus.CANCELING)


def _row(run: StoredRun, asked: NewRun, change: RunChange, now: Micros) -> tuple[Any, ...]:
    status, started_at = ("running", now) if change.started else ("pending", None)
    return (
        *(run.key, run.id, run.package, run.name, asked.metadata, run.input_sha256, asked.output),
        *(run.created_at, started_at or run.created_at, change.nodes, change.added, change.edges),
        *(change.opened, len(change.entries), status, started_at),
    )


def with_beginning(run: StoredRun, change: RunChange) -> StoredRun:
    """Return a new run as it stands once it is stored with what it begins with."""
    what = (run.key, run.id, run.package, run.status, change.nodes, change.added, change.edges, run.generation)
    counts = (change.opened, run.failed_steps, run.canceled_by_run, len(change.entries))
    return StoredRun(*what, run.input_sha256, run.name, *counts, run.created_at)
