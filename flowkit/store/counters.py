"""Counters of a store: numbers that are handed out once and never again, whatever is pruned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peewee import SQL, Select, fn

from flowkit.store.database import Database, Session
from flowkit.store.statements import Asked, param, statement
from flowkit.store.tables import Tables

NAMES = ("run", "record")


class Counters:
    """Hands out keys, growing ones.

    A counter is a row, so it goes on only when who took from it before has committed: a reader that remembers the last
    key it saw never misses a new one. PostgreSQL counts runs by a sequence instead: starts of a run, which may be part
    of a long transaction of the program's own, then do not wait for each other.
    """

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _take(self) -> Any:
        m = self._t.meta
        return m.update({m.number: m.number + param("count")}).where(m.key == param("name")).returning(m.number)

    @statement
    def _next(self) -> Any:
        each = fn.generate_series(1, param("count"))
        return Select([each.alias("g")], [fn.nextval(self.db.dialect.sequences["run"])])

    @statement
    def _last(self) -> Any:
        return self._t.meta.select(self._t.meta.number).where(self._t.meta.key == param("name"))

    @statement
    def _last_run(self) -> Any:
        last = SQL("CASE WHEN is_called THEN last_value ELSE 0 END")
        return Select([SQL(self.db.dialect.sequences["run"])], [last])

    @statement
    def _set(self) -> Any:
        return self._t.meta.update({self._t.meta.number: param("number")}).where(self._t.meta.key == param("name"))

    @statement
    def _set_sequence(self) -> Any:
        return Select(columns=[fn.setval(param("sequence"), param("number"))])

    def asking(self, name: str, count: int) -> Asked:
        """Return the question for *count* numbers, for ``take``."""
        if name in self.db.dialect.sequences:
            assert name == "run", f"{name!r} is counted by the database itself"
            return Asked(self._next, {"count": count})
        return Asked(self._take, {"name": name, "count": count})

    def take(self, tx: Session, asked: Asked) -> Sequence[int]:
        """Take numbers, each larger than the one before; without a sequence they lie side by side."""
        rows, name = tx.answer(asked), asked.values.get("name")
        if name is None:
            return [row[0] for row in rows]
        assert rows, f"the store has no counter {name!r}"
        last = int(rows[0][0])
        return range(last - int(asked.values["count"]) + 1, last + 1)

    def last(self, tx: Session, name: str) -> int:
        """Return the last number that was handed out, 0 where there was none."""
        row = tx.row(self._last_run) if name in self.db.dialect.sequences else tx.row(self._last, name=name)
        return int(row[0]) if row else 0

    def go_on_after(self, tx: Session, name: str, number: int) -> None:
        """Hand out what follows *number*: the store was filled with rows that another one had numbered."""
        sequence = self.db.dialect.sequences.get(name)
        if sequence is None:
            tx.run(self._set, name=name, number=number)
        elif number:
            tx.rows(self._set_sequence, sequence=sequence, number=number)
