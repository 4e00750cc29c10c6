"""A store that fails where a story says so, as a disk or a connection does."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from flowkit.clock import Clock
from flowkit.store.engine import Engine
from flowkit.store.sqlite import SQLiteConnector


class FrailStore:
    """A SQLite store that may be broken.

    Attributes:
        forgets: the next commit is made, but its acknowledgement is lost.
        broken: what every transaction is refused with, while it says something.
    """

    wal = None

    def __init__(self, path: Path) -> None:
        self._connector = SQLiteConnector(str(path), "process")
        self.forgets = False
        self.broken = ""

    def open(self, clock: Clock) -> Engine:
        """Open the store."""
        connect = self._connector.connect
        self._connector.connect = lambda: _Connection(connect(), self)  # type: ignore[method-assign]
        return Engine(self._connector, clock)


class _Connection:
    def __init__(self, raw: sqlite3.Connection, store: FrailStore) -> None:
        self._raw = raw
        self._store = store

    def execute(self, sql: str, *parameters: Any) -> Any:
        if sql.startswith("BEGIN") and self._store.broken:
            raise sqlite3.OperationalError(self._store.broken)
        result = self._raw.execute(sql, *parameters)
        if sql == "COMMIT" and self._store.forgets:
            self._store.forgets = False
            raise sqlite3.OperationalError("disk I/O error")
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
