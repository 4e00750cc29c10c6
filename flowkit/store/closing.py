"""Attempts that close without committing their step: their rows, and what a settlement that came too late is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.model.outcome import Failed, Outcome, Released, Retried, StepError, Succeeded
from flowkit.model.step import Settlement
from flowkit.store.database import Database, Session
from flowkit.store.statements import insert_into, param, statement
from flowkit.store.tables import Tables
from flowkit.store.tally import Tally


class Verdict(Enum):
    """What became of a settlement."""

    SETTLED = "settled"
    ALREADY_COMMITTED = "already committed"
    LOST = "lease lost"


@attrs.frozen
class ClosedAttempt:
    """A row of the attempts table."""

    step: int
    epoch: int
    generation: int
    attempt: int
    worker: str
    started_at: Micros
    ended_at: Micros
    outcome: str
    error: str | None = None


class Closing:
    """Writes and reads closed attempts."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _insert(self) -> Any:
        a = self._t.attempts
        return insert_into(a, tuple(field.name for field in attrs.fields(ClosedAttempt)))

    @statement
    def _committed(self) -> Any:
        res = self._t.results
        return res.select(res.sha256).where((res.step == param("step")) & (res.epoch == param("epoch")))

    @statement
    def _closed(self) -> Any:
        a = self._t.attempts
        return a.select(a.outcome, a.error).where((a.step == param("step")) & (a.epoch == param("epoch")))

    def insert(self, tx: Session, rows: Sequence[ClosedAttempt]) -> None:
        """Write rows of attempts that were closed by others than their worker."""
        tx.many(self._insert, [attrs.astuple(row) for row in rows])

    def write(self, tx: Session, items: Sequence[tuple[Settlement, Outcome, Micros]], *, discarded: bool) -> None:
        """Write the attempts rows of settlements that did not succeed."""
        rows = []
        for settlement, outcome, ended_at in items:
            leased = settlement.leased
            name = "discarded" if discarded else outcome_name(outcome)
            error = error_to_text(outcome.error) if isinstance(outcome, (Failed, Retried)) and not discarded else None
            identity = (leased.key, leased.lease.epoch, leased.generation, leased.attempt, leased.lease.worker_id)
            rows.append(ClosedAttempt(*identity, leased.lease.acquired_at, ended_at, name, error))
        self.insert(tx, rows)

    def verdict(self, tx: Session, settlement: Settlement, tally: Tally) -> Verdict:
        """Say whether a settlement whose lease did not hold was written before, word for word, or came too late."""
        leased, outcome = settlement.leased, settlement.outcome
        at = {"step": leased.key, "epoch": leased.lease.epoch}
        committed, closed = tx.row(self._committed, **at), tx.row(self._closed, **at)
        if committed is None and closed is None:
            return Verdict.LOST
        if committed is not None:
            stored = bytes(committed[0]) if committed[0] is not None else None
            same = isinstance(outcome, Succeeded) and stored == outcome.sha256
        else:
            same = closed is not None and _stands_for(outcome, *closed)
        if same:
            return Verdict.ALREADY_COMMITTED
        if committed is not None:
            known: dict[str, Any] = {"kind": leased.kind, "queue": leased.queue, "attempt": leased.attempt}
            tally.tell("attempt_divergence", leased.run_key, run_id=leased.run_id, step_id=leased.id, **known)
        return Verdict.LOST


REFUSALS = frozenset({"emit_conflict", "graph_error", "limit_exceeded", "artifact_conflict", "unsettleable"})
"""Codes of failures that stand for a success whose effects could not be taken."""


def _stands_for(outcome: Outcome, closed: str, error: str | None) -> bool:
    """Whether an attempt that was closed like this is what *outcome* became."""
    if closed in (outcome_name(outcome), "discarded"):
        return True
    told = error_from_text(error)
    return closed == "failed" and told is not None and told.code in REFUSALS


def outcome_name(outcome: Outcome) -> str:
    """Return the word that the attempts table uses for an outcome."""
    match outcome:
        case Succeeded():
            return "succeeded"
        case Retried():
            return "retried"
        case Failed():
            return "failed"
        case Released():
            return "released"


def error_to_text(error: StepError) -> str:
    """Write an error as JSON; details that are not JSON are named by their type rather than refused."""
    known = attrs.asdict(error, recurse=False)
    try:
        return json.dumps(known, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps({**known, "details": {"unrepresentable": type(error.details).__name__}})


def error_from_text(text: str | None) -> StepError | None:
    """Read an error back."""
    return StepError(**json.loads(text)) if text is not None else None
