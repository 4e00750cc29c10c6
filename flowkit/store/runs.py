"""The runs table: found by id, created, counted, canceled; every change of a run's status is here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from peewee import Case, fn

from flowkit.clock import Micros
from flowkit.model.states import ENDED_RUN, RunStatus
from flowkit.store.counters import Counters
from flowkit.store.database import Database, Session
from flowkit.store.keys import number_rows, numbers
from flowkit.store.statements import Asked, insert_into, param, statement
from flowkit.store.tables import Tables
from flowkit.store.tally import RunChange, Tally

_ENDED = sorted(status.value for status in ENDED_RUN)


@attrs.frozen
class StoredRun:
    """What a transaction needs to know of a run before it changes it."""

    key: int
    id: str
    package: str
    status: RunStatus
    nodes: int
    steps: int
    edges: int
    generation: int
    input_sha256: bytes
    name: str | None


@attrs.frozen
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


@attrs.frozen
class FinishedRun:
    """A run that a transaction brought to its end."""

    id: str
    package: str
    status: RunStatus
    created_at: Micros


class Runs:
    """Reads and writes of runs."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables
        self._counters = Counters(db, tables)

    def _select(self) -> Any:
        r = self._t.runs
        counts = (r.nodes, r.steps, r.edges, r.generation)
        return r.select(r.key, r.id, r.package, r.status, *counts, r.input_sha256, r.name)

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
        r = self._t.runs
        return self.db.dialect.claimed(r.select(r.key).where(r.key.in_(self.db.dialect.keys("keys"))))

    @statement
    def _reserve(self) -> Any:
        return self.db.dialect.alone("ids")

    @statement
    def _insert(self) -> Any:
        r = self._t.runs
        names = ("key", "id", "package", "name", "metadata", "input_sha256", "output", "created_at", "updated_at")
        counters = ("nodes", "steps", "edges", "open_steps", "events")
        zero = dict.fromkeys(("failed_steps", "canceled_by_run", "generation"), 0)
        return insert_into(r, (*names, *counters), **zero, status="pending")

    @statement
    def _insert_input(self) -> Any:
        return insert_into(self._t.run_inputs, ("run", "body"))

    @statement
    def _count(self) -> Any:
        # The status is not among what is set: it would rewrite the index of open runs with every count.
        columns = ("run", "added", "nodes", "edges", "opened", "closed", "failed", "by_run", "events")
        r, b = self._t.runs, self.db.dialect.batch("changes", *columns)
        return (
            r.update(
                {
                    r.steps: r.steps + b.c.added,
                    r.nodes: r.nodes + b.c.nodes,
                    r.edges: r.edges + b.c.edges,
                    r.open_steps: r.open_steps + b.c.opened - b.c.closed,
                    r.failed_steps: r.failed_steps + b.c.failed,
                    r.canceled_by_run: r.canceled_by_run + b.c.by_run,
                    r.events: r.events + b.c.events,
                    r.updated_at: param("now"),
                }
            )
            .from_(b)
            .where((r.key == b.c.run) & self.db.dialect.checked(r.status.not_in(_ENDED)))
            .returning(r.key, r.id, r.package, r.status, r.events, r.open_steps)
        )

    @statement
    def _begin(self) -> Any:
        r = self._t.runs
        change = {r.status: "running", r.started_at: fn.COALESCE(r.started_at, param("now"))}
        pending = self.db.dialect.checked(r.status == "pending")
        return r.update(change).where(r.key.in_(self.db.dialect.keys("keys")) & pending)

    @statement
    def _end(self) -> Any:
        r, now = self._t.runs, param("now")
        canceled = (r.canceled_by_run > 0, "canceled")
        end = Case(None, [(r.status == "canceling", "canceled"), (r.failed_steps > 0, "failed"), canceled], "succeeded")
        change = {r.status: end, r.ended_at: now, r.events: r.events + 1}
        over = self.db.dialect.checked((r.open_steps == 0) & r.status.not_in(_ENDED))
        ended = r.update(change).where(r.key.in_(self.db.dialect.keys("keys")) & over)
        return ended.returning(r.key, r.status, r.created_at)

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
        return _stored(row) if row else None

    def reserve(self, tx: Session, run_ids: Iterable[str]) -> None:
        """Let nobody else start runs of these ids until the transaction ends, so that who finds none may start one."""
        listed = sorted(run_ids)
        if listed and not self.db.dialect.one_writer:
            tx.rows(self._reserve, ids=json.dumps(listed))

    def lock(self, tx: Session, run_id: str) -> StoredRun | None:
        """Return the run with this id, and let nobody else change it or its steps until the transaction ends."""
        row = tx.row(self._by_id_locked, id=run_id)
        return _stored(row) if row else None

    def ask_standing(self, keys: Iterable[int]) -> Asked:
        """Return the question how these runs stand, for ``standing``."""
        return Asked(self._by_key_locked, {"keys": numbers(sorted(keys))})

    def standing(self, tx: Session, asked: Asked) -> dict[int, StoredRun]:
        """Return how runs stand, a pruned one is missing; they are locked as by ``lock``, in order."""
        # Whoever waits for a run holds, of runs, lower keys only, and nothing else: so nobody waits in a circle.
        return {row[0]: _stored(row) for row in tx.answer(asked)}

    def claim(self, tx: Session, keys: Iterable[int]) -> set[int]:
        """Lock those of the runs that nobody else has locked, without waiting, and return them."""
        if self.db.dialect.one_writer:
            return set(keys)
        return {row[0] for row in tx.rows(self._claim, keys=numbers(sorted(keys)))}

    def keys(self, tx: Session, new: Sequence[NewRun]) -> list[StoredRun]:
        """Give new runs their keys; they are stored once it is known what they begin with."""
        keys = self._counters.take(tx, "run", len(new))
        return [
            StoredRun(key, run.id, run.package, RunStatus.PENDING, 0, 0, 0, 0, run.input_sha256, run.name)
            for key, run in zip(keys, new)
        ]

    def insert(self, tx: Session, new: Sequence[tuple[StoredRun, NewRun, RunChange]], now: Micros) -> None:
        """Store new runs with what they begin with; their steps are added in the same transaction."""
        rows = [
            (
                *(stored.key, run.id, run.package, run.name, run.metadata, run.input_sha256, run.output, now, now),
                *(change.nodes, change.added, change.edges, change.opened, len(change.entries)),
            )
            for stored, run, change in new
        ]
        tx.many(self._insert, rows)
        tx.many(self._insert_input, [(stored.key, run.input) for stored, run, _ in new])

    def begin_cancel(self, tx: Session, key: int, now: Micros) -> bool:
        """Make a run canceling; False if it was not pending or running any more."""
        return tx.run(self._cancel, key=key, now=now) == 1

    def reopen(self, tx: Session, run: StoredRun, *, opened: int, failed: int, by_run: int, now: Micros) -> bool:
        """Make a run go on with *opened* revived steps; False if it changed since it was read."""
        values = {"opened": opened, "failed": failed, "by_run": by_run, "now": now}
        return tx.run(self._reopen, key=run.key, seen=run.generation, **values) == 1

    def apply(self, tx: Session, tally: Tally) -> tuple[dict[int, int], dict[int, FinishedRun], dict[int, str]]:
        """Write what the transaction changed in each run, and end those of which no step is open.

        Returns, by run: the number of its first new history entry, how it ended if it did, and its id.
        """
        rows = [
            (
                *(key, c.added, c.nodes, c.edges, c.opened, c.closed),
                *(c.failed, c.canceled_by_run, len(c.entries)),
            )
            for key, c in tally.runs.items()
        ]
        counted = {row[0]: row for row in tx.rows(self._count, changes=number_rows(rows), now=tally.now)}
        first = {key: row[4] - len(tally.runs[key].entries) for key, row in counted.items()}
        begun = [key for key, row in counted.items() if row[3] == "pending" and tally.runs[key].started]
        if begun:
            tx.later(self._begin, keys=numbers(begun), now=tally.now)
        over = [key for key, row in counted.items() if row[5] == 0]
        ends = tx.rows(self._end, keys=numbers(over), now=tally.now) if over else []
        ids = {key: row[1] for key, row in counted.items()}
        finished = {key: FinishedRun(ids[key], counted[key][2], RunStatus(status), at) for key, status, at in ends}
        return first, finished, ids


def _stored(row: tuple[Any, ...]) -> StoredRun:
    return StoredRun(row[0], row[1], row[2], RunStatus(row[3]), *row[4:])
