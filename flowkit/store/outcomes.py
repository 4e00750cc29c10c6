"""Settling: an attempt's outcome and all its effects, written at once under the guard of its lease."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
from peewee import Case

from flowkit.errors import GraphError, LimitExceeded
from flowkit.model.events import EventName
from flowkit.model.moves import DISCARD, FAIL, RELEASE, RETRY, SUCCEED, Move
from flowkit.model.outcome import Failed, Retried, StepError, Succeeded
from flowkit.model.states import RunStatus
from flowkit.model.step import Settlement
from flowkit.store.batch import Batch, Gathered, Item, by_move, item_of, once, proofs_of
from flowkit.store.closing import Closing, Verdict
from flowkit.store.database import Database, Row, Session
from flowkit.store.effects import Effects
from flowkit.store.graph_rows import GraphRows, Parent
from flowkit.store.graphs import EmitConflict, Graphs
from flowkit.store.proof import is_held
from flowkit.store.propagate import Propagation
from flowkit.store.runs import Runs
from flowkit.store.standing import StoredRun
from flowkit.store.statements import Asked, Statement, param, statement
from flowkit.store.tables import Tables
from flowkit.store.tally import Tally


@attrs.define
class Settled:
    """What became of a batch: for each settlement, in order, a verdict and the move it made."""

    verdicts: list[Verdict]
    moves: list[Move | None]


class Outcomes:
    """Writes outcomes; the guard of each move is in its WHERE clause, and RETURNING names the leases that held."""

    def __init__(self, db: Database, tables: Tables, runs: Runs, graphs: Graphs, propagation: Propagation) -> None:
        self.db = db
        self._t = tables
        self._runs = runs
        self._graphs = graphs
        self._propagation = propagation
        self._closing = Closing(db, tables)
        self._effects = Effects(db, tables)

    def _proofs(self) -> Any:
        return self.db.dialect.batch("proofs", self._t.steps.key, "epoch", "token", "at", texts={"token"})

    def _move(self, move: Move, run_status: str, change: dict[Any, Any]) -> Any:
        s, r = self._t.steps, self._t.runs
        b = self._proofs()
        cleared: dict[Any, Any] = dict.fromkeys((s.token, s.worker, s.expires_at, s.started_at))
        run = r.select(r.status).where(r.key == s.run)
        mine = is_held(self.db.dialect, s, b)
        written = {s.status: move.target.value, **cleared, **change}
        return s.update(written).from_(b).where(mine & (run == run_status)).returning(s.key, s.epoch, s.allow_failure)

    @property
    def _ended_at(self) -> Any:
        # The fourth column of a proof: when the attempt ended, or when the step may be leased again.
        return self._proofs().c.at

    @statement
    def _succeed(self) -> Any:
        return self._move(SUCCEED, "running", {self._t.steps.ended_at: self._ended_at})

    @statement
    def _fail(self) -> Any:
        return self._move(FAIL, "running", {self._t.steps.ended_at: self._ended_at})

    @statement
    def _discard(self) -> Any:
        s = self._t.steps
        return self._move(DISCARD, "canceling", {s.ended_at: self._ended_at, s.reason: "run"})

    @statement
    def _retry(self) -> Any:
        s, at, now = self._t.steps, self._ended_at, param("now")
        later = Case(None, [(at > now, at)], None)
        return self._move(RETRY, "running", {s.ready_at: at, s.delayed_until: later, s.scheduled_at: now})

    @statement
    def _release(self) -> Any:
        s = self._t.steps
        return self._move(RELEASE, "running", {s.attempt: s.attempt - 1})

    @statement
    def _held(self) -> Any:
        s, b = self._t.steps, self._proofs()
        mine = is_held(self.db.dialect, s, b)
        return s.select(s.key, s.epoch, s.depth).from_(s, b).where(mine)

    def batch(self, settlements: Sequence[Settlement]) -> Batch:
        """Return a batch of outcomes, with what its transaction may begin with."""
        items = [item_of(settlement) for settlement in settlements]
        standing = self._runs.ask_standing({item.settlement.leased.run_key for item in items})
        first = once(items)
        if any(item.has_effects for item in first):
            # What is emitted is counted by how the steps that it waits for stand before any of the batch has ended.
            return Batch(items, standing)
        plain = [item for item in first if item.is_plain]
        succeed = Asked(self._succeed, {"proofs": proofs_of(plain)}) if plain else None
        return Batch(items, standing, succeed, self._propagation.asking(_keys(first)), len(plain) == len(first))

    def settle(self, tx: Session, batch: Batch, tally: Tally) -> Settled:
        """Write every outcome whose lease still holds, with all its effects, and say of each what became of it."""
        standing = self._runs.standing(tx, batch.standing)
        tally.mine |= standing
        first = once(item for item in batch.items if item.is_of(standing))
        # Its guard asks again how each run stands, and that cannot change between the two.
        held = tx.answer(batch.plain) if batch.plain is not None else None
        self._prepare(tx, first, standing, tally)
        groups = by_move(first, standing)
        asked = batch.waiting
        waiting = self._propagation.ask(tx, _keys(first)) if asked is None else lambda: tx.answer(asked)
        ended: dict[int, bool] = {}
        for move, group in groups.items():
            ended |= self._write(tx, move, group, held if move is SUCCEED else None, tally)
        if ended:
            self._propagation.spread(tx, ended, tally, waiting)
        for item in batch.items:
            if item.verdict is None and item.is_of(standing):
                item.verdict = self._closing.verdict(tx, item.settlement, tally)
        return Settled([item.verdict or Verdict.LOST for item in batch.items], [item.move for item in batch.items])

    def _prepare(self, tx: Session, items: list[Item], standing: dict[int, StoredRun], tally: Tally) -> None:
        """Add what successful attempts emit, and turn those whose effects are refused into failures."""
        with_effects = [item for item in items if item.has_effects]
        if not with_effects:
            return
        proofs = proofs_of(with_effects)
        held = {(key, epoch): depth for key, epoch, depth in tx.rows(self._held, proofs=proofs)}
        runs = {item.identity: standing[item.settlement.leased.run_key] for item in with_effects}
        running = [item for item in with_effects if runs[item.identity].status is RunStatus.RUNNING]
        mine = [item for item in running if item.identity in held]
        inline = [(runs[item.identity].key, item.inline_ids) for item in mine]
        gathered = Gathered(artifacts=self._effects.owners(tx, inline))
        emitted = [(runs[item.identity].key, plan) for item in mine if (plan := item.emission) is not None]
        self._graphs.look_up(tx, emitted, gathered.rows)
        for item in mine:
            parent = Parent(item.identity[0], held[item.identity])
            self._add_effects(tx, item, runs[item.identity], parent, gathered, tally)
        self._graphs.write(tx, gathered.rows)

    def _add_effects(
        self, tx: Session, item: Item, run: StoredRun, parent: Parent, gathered: Gathered, tally: Tally
    ) -> None:
        ids = item.inline_ids
        mine = parent.key
        taken = next((id for id in ids if gathered.artifacts.get((run.key, id), mine) != mine), None)
        if taken is not None:
            message = f"artifact id {taken!r} is taken in run {run.id!r}; inline ids are unique within a run"
            item.outcome = Failed(StepError("artifact_conflict", message, occurred_at=item.ended_at))
        elif item.emission is not None:
            self._emit(tx, item, run, parent, gathered.rows, tally)
        if isinstance(item.outcome, Succeeded):
            gathered.artifacts.update(((run.key, id), mine) for id in ids)

    def _emit(self, tx: Session, item: Item, run: StoredRun, parent: Parent, rows: GraphRows, tally: Tally) -> None:
        assert item.emission is not None
        try:
            graph = self._graphs.add(tx, run, item.emission, tally, rows, parent)
        except (GraphError, LimitExceeded) as refused:
            code = "emit_conflict" if isinstance(refused, EmitConflict) else "graph_error"
            code = "limit_exceeded" if isinstance(refused, LimitExceeded) else code
            item.outcome = Failed(StepError(code, str(refused), occurred_at=item.ended_at))
        else:
            item.emitted = json.dumps(graph.places())

    def _write(
        self, tx: Session, move: Move, group: list[Item], rows: list[Row] | None, tally: Tally
    ) -> dict[int, bool]:
        """Make a move, unless *rows* say for which it was made; returns the steps that ended by it."""
        if rows is None:
            rows = tx.rows(self._statement(move), proofs=proofs_of(group, tally.now), now=tally.now)
        held = {(key, epoch): bool(allowed) for key, epoch, allowed in rows}
        mine = [item for item in group if item.identity in held]
        for item in mine:
            item.verdict, item.move = Verdict.SETTLED, move
            _count(item, move, held[item.identity], tally)
        if move is SUCCEED:
            self._effects.write(tx, [(i.settlement, i.ended_at, i.emitted) for i in mine])
            tally.results |= {i.identity[0]: i.outcome.body for i in mine if isinstance(i.outcome, Succeeded)}
        else:
            self._closing.write(tx, [(i.settlement, i.outcome, i.ended_at) for i in mine], discarded=move is DISCARD)
        if move is not DISCARD:
            # How far an attempt came is of most interest where it came no further.
            told = [(i.identity[0], i.settlement.progress) for i in mine if i.settlement.progress is not None]
            if told:
                self._effects.progress(tx, told)
        return {item.identity[0]: move is SUCCEED for item in mine} if move.target.is_ended else {}

    def _statement(self, move: Move) -> Statement:
        table = {SUCCEED: "_succeed", FAIL: "_fail", DISCARD: "_discard", RETRY: "_retry", RELEASE: "_release"}
        found: Statement = getattr(self, table[move])
        return found


def _keys(items: Iterable[Item]) -> list[int]:
    return [item.identity[0] for item in items]


_EVENTS: dict[Move, tuple[EventName, str]] = {
    SUCCEED: ("step_succeeded", "step_succeeded"),
    FAIL: ("step_failed", "step_failed"),
    RETRY: ("step_retried", "step_retried"),
    DISCARD: ("step_canceled", "step_discarded"),
    RELEASE: ("run_updated", "step_released"),
}


def _count(item: Item, move: Move, allowed: bool, tally: Tally) -> None:
    leased, outcome = item.settlement.leased, item.outcome
    told, noted = _EVENTS[move]
    error = outcome.error if isinstance(outcome, (Failed, Retried)) and move is not DISCARD else None
    change = tally.note(noted, leased.key, leased.lease.epoch, **({"code": error.code} if error else {}))
    change.closed += int(move.target.is_ended)
    change.failed += int(move is FAIL and not allowed)
    change.canceled_by_run += int(move is DISCARD)
    if tally.listening or error:
        known = {"kind": leased.kind, "queue": leased.queue, "attempt": leased.attempt}
        fields: dict[str, Any] = {"duration": item.ended_at - leased.lease.acquired_at}
        if error:
            fields |= {"code": error.code, "message": error.message}
        if isinstance(outcome, Retried):
            fields["delay"] = outcome.delay
        tally.tell(told, leased.run_key, step_id=leased.id, worker_id=leased.lease.worker_id, fields=fields, **known)
