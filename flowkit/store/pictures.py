"""What pictures of a run are drawn from: all its steps with their edges, and every attempt at each of them."""

from __future__ import annotations

from typing import Any

import attrs
from peewee import Value

from flowkit.model.step import Attempt
from flowkit.store.database import Database, Row, Session
from flowkit.store.keys import first_key, last_key, place_of
from flowkit.store.propagate import MEMBER, OPTIONAL, REQUIRED
from flowkit.store.rows import attempt_columns, attempt_from_row
from flowkit.store.statements import param, statement
from flowkit.store.tables import Tables

__all__ = ["MEMBER", "OPTIONAL", "REQUIRED", "Pictures", "StoredEdge", "StoredNode"]

_NOTHING = Value(None)


@attrs.frozen
class StoredNode:
    """A step as a picture shows it; its place, and that of the step that emitted it, are those in the run."""

    place: int
    id: str
    kind: str
    status: str
    parent: int | None


@attrs.frozen
class StoredEdge:
    """The node at *waiter* waits for that at *target*; a place at which there is no step is a gate's.

    Attributes:
        role: ``REQUIRED``, ``OPTIONAL``, or ``MEMBER`` where the waiter is a gate that counts its target.
    """

    target: int
    waiter: int
    role: int


class Pictures:
    """Reads of whole runs; an operator's questions, not the hot path's."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _nodes(self) -> Any:
        s, lane = self._t.steps, self._t.lanes
        query = s.select(s.key, s.id, lane.kind, s.status, s.parent).join(lane, on=(lane.id == s.lane))
        return query.where(s.key.between(param("first"), param("last"))).order_by(s.key)

    @statement
    def _edges(self) -> Any:
        d = self._t.deps
        of_run = d.target.between(param("first"), param("last"))
        return d.select(d.target, d.waiter, d.role).where(of_run).order_by(d.target, d.waiter)

    @statement
    def _closed(self) -> Any:
        s, a = self._t.steps, self._t.attempts
        columns = attempt_columns(a, outcome=a.outcome, error=a.error)
        return self._of_run(a.select(s.id, *columns).join(s, on=(s.key == a.step)), a.step)

    @statement
    def _committed(self) -> Any:
        s, res = self._t.steps, self._t.results
        columns = attempt_columns(res, outcome=Value("succeeded"), error=_NOTHING)
        return self._of_run(res.select(s.id, *columns).join(s, on=(s.key == res.step)), res.step)

    @statement
    def _open(self) -> Any:
        s = self._t.steps
        columns = attempt_columns(s, outcome=_NOTHING, error=_NOTHING, ended_at=_NOTHING)
        return self._of_run(s.select(s.id, *columns), s.key).where(s.status == "running")

    def _of_run(self, query: Any, key: Any) -> Any:
        return query.where(key.between(param("first"), param("last")))

    def nodes(self, tx: Session, run: int) -> list[StoredNode]:
        """Return a run's steps in declaration order."""
        return [_node(row) for row in tx.rows(self._nodes, first=first_key(run), last=last_key(run))]

    def edges(self, tx: Session, run: int) -> list[StoredEdge]:
        """Return a run's edges, those of its gates among them."""
        rows = tx.rows(self._edges, first=first_key(run), last=last_key(run))
        return [StoredEdge(place_of(target), place_of(waiter), role) for target, waiter, role in rows]

    def attempts(self, tx: Session, run: int) -> dict[str, tuple[Attempt, ...]]:
        """Return, by step, every attempt at it in order, the one that runs last; steps without any are missing."""
        found: dict[str, dict[int, Attempt]] = {}
        # The open ones are read first: should one end in between, it is read once more as what it became.
        for asked in (self._open, self._closed, self._committed):
            for step_id, *row in tx.rows(asked, first=first_key(run), last=last_key(run)):
                attempt = attempt_from_row(tuple(row))
                found.setdefault(step_id, {})[attempt.epoch] = attempt
        return {step_id: tuple(by[epoch] for epoch in sorted(by)) for step_id, by in found.items()}


def _node(row: Row) -> StoredNode:
    key, step_id, kind, status, parent = row
    return StoredNode(place_of(key), step_id, kind, status, place_of(parent) if parent is not None else None)
