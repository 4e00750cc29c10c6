"""Where a test's store is: a SQLite file or a PostgreSQL database, with what a test does there by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import attrs
import peewee

from flowkit.clock import Clock
from flowkit.store.database import Connector
from flowkit.store.engine import Engine
from flowkit.store.sqlite import SQLiteConnector
from flowkit.store.stores import SQLiteStore, Store

Run = Callable[..., Any]
"""Runs one statement, with its parameters, and returns the driver's cursor."""


class Place(Protocol):
    """A place for one store."""

    url: str

    def store(self) -> Store:
        """Return a store object for this place, for one Runtime."""

    def driver_error(self, text: str) -> Exception:
        """Return what the driver raises when the database says *text*."""

    def connector(self) -> Connector:
        """Return what opens connections to it."""

    def program(self) -> peewee.Database:
        """Return a peewee database that a program may have there."""

    def joined(self, program: Any) -> Store:
        """Return a store object that joins the transactions of *program*."""

    def by_hand(self) -> Any:
        """Connect as somebody who knows nothing of flowkit and heeds no constraint; yields a ``Run``."""

    def refuse(self, table: str, when: str) -> list[str]:
        """Return the SQL that makes the database refuse an INSERT with "a planted refusal"."""

    def alter(self, table: str, change: str) -> list[str]:
        """Return the SQL that makes the database change each row after it was inserted."""

    def text(self, column: str) -> str:
        """Return the SQL that reads a column of bytes as text."""

    @property
    def refusals(self) -> type[Exception]:
        """What the driver raises when a trigger refuses."""


Lend = Callable[[], AbstractContextManager[Place]]
"""Lends one more empty place: for a test, or a module, that wants several."""


def open_engine(place: Place, clock: Clock) -> Engine:
    """Open the store that is there, as one more process would."""
    return place.store().open(clock)


@attrs.frozen
class SQLitePlace:
    """A file."""

    path: Path
    refusals = sqlite3.IntegrityError

    @property
    def url(self) -> str:
        """The store's URL."""
        return "sqlite://" if self.path == Path(":memory:") else f"sqlite:///{self.path}"

    def store(self) -> SQLiteStore:
        """Return a store that does not wait for the disk."""
        return SQLiteStore(self.path, durability="process")

    def driver_error(self, text: str) -> Exception:
        """Return an error of SQLite."""
        return sqlite3.OperationalError(text)

    def connector(self) -> SQLiteConnector:
        """Return what opens the file."""
        return SQLiteConnector(str(self.path), "process")

    def program(self) -> peewee.SqliteDatabase:
        """Return the file as a program opens it."""
        return peewee.SqliteDatabase(str(self.path), pragmas={"journal_mode": "wal"})

    def joined(self, program: Any) -> SQLiteStore:
        """Return a store that joins the program."""
        return SQLiteStore(database=program)

    @contextmanager
    def by_hand(self) -> Iterator[Run]:
        """Open the file."""
        connection = sqlite3.connect(self.path)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        with connection:
            yield lambda sql, parameters=(): connection.execute(sql, parameters)
        connection.close()

    def refuse(self, table: str, when: str) -> list[str]:
        """Return the SQL of a trigger."""
        refusal = "BEGIN SELECT RAISE(ABORT, 'a planted refusal'); END"
        return [f"CREATE TRIGGER planted BEFORE INSERT ON {table} WHEN {when} {refusal}"]

    def alter(self, table: str, change: str) -> list[str]:
        """Return the SQL of a trigger."""
        update = f"BEGIN UPDATE {table} SET {change} WHERE key = NEW.key; END"
        return [f"CREATE TRIGGER altered AFTER INSERT ON {table} {update}"]

    def text(self, column: str) -> str:
        """Return the SQL that reads bytes as text."""
        return f"CAST({column} AS TEXT)"
