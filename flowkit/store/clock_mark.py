"""The highest time that any process has seen: by it a clock that was set back is recognised."""

from __future__ import annotations

from typing import Any

from flowkit.clock import Micros
from flowkit.store.database import Database, Session
from flowkit.store.statements import param, statement
from flowkit.store.tables import Tables


class ClockMark:
    """Reads and writes the mark; whoever stores until when something lasts sees to it that it is reached."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _read(self) -> Any:
        m = self._t.meta
        return m.select(m.number).where(m.key == "clock_high")

    @statement
    def _set(self) -> Any:
        return self._raised()

    @statement
    def _reach(self) -> Any:
        return self._raised(self._t.meta.number < param("now"))

    def _raised(self, *only: Any) -> Any:
        m = self._t.meta
        mark = m.select(m.key).where(m.key == "clock_high", *only)
        # Where another transaction is at it, which may be a program's own and left open, nobody waits: it will do.
        free = self.db.dialect.among(m.key, self.db.dialect.claimed(mark))
        return m.update({m.number: param("now")}).where(free)

    def read(self, tx: Session) -> Micros:
        """Return the mark."""
        row = tx.row(self._read)
        return int(row[0]) if row else 0

    def set(self, tx: Session, now: Micros) -> None:
        """Set it, also back."""
        tx.later(self._set, now=now)

    def reach(self, tx: Session, now: Micros) -> None:
        """Raise it to *now*, if it is lower."""
        tx.later(self._reach, now=now)
