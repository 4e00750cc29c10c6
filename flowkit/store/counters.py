"""Counters of a store: numbers that are handed out once and never again, whatever is pruned."""

from __future__ import annotations

from typing import Any

from flowkit.store.database import Database, Session
from flowkit.store.statements import param, statement
from flowkit.store.tables import Tables

NAMES = ("run", "record")


class Counters:
    """Hands out keys; a reader that remembers the last one it saw then never misses a new one."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _take(self) -> Any:
        m = self._t.meta
        return m.update({m.number: m.number + param("count")}).where(m.key == param("name")).returning(m.number)

    def take(self, tx: Session, name: str, count: int) -> int:
        """Take *count* numbers in a row and return the first."""
        row = tx.row(self._take, name=name, count=count)
        assert row is not None, f"the store has no counter {name!r}"
        return int(row[0]) - count + 1
