"""Databases that steps write for readers, beside the engine's own: one SQLite file per name, one writer at a time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, Union

import attrs

from flowkit.errors import ConfigError, InvalidInput, InvalidTransition, RuntimeClosed, StoreBusy
from flowkit.folders import folder, folder_from_url
from flowkit.model.names import name_problem
from flowkit.projection_files import Connections, file_name, sqlite_errors

Arguments = Union[Sequence[Any], Mapping[str, Any]]
"""What the ``?`` or the ``:name`` in a statement stand for."""

_Owner = tuple[int, int]


class Projection(Protocol):
    """A database of one name; any number of threads may use the same object."""

    def execute(self, sql: str, args: Arguments = ()) -> int:
        """Run one statement and return how many rows it changed; commits by itself, outside ``transaction()``."""

    def executemany(self, sql: str, rows: Iterable[Arguments]) -> int:
        """Run one statement for each of *rows*, all or none, and return how many rows were changed."""

    def query(self, sql: str, args: Arguments = ()) -> list[dict[str, Any]]:
        """Run one statement and return its rows, each by column name."""

    def transaction(self) -> AbstractContextManager[None]:
        """Group the statements that this thread, or this asyncio task, makes meanwhile: all of them or none."""


class ProjectionStore(Protocol):
    """Gives projections by name; many threads and processes use it at once."""

    @property
    def url(self) -> str | None:
        """What ``open_projection_store`` takes in another process; None if this store serves one process only."""

    def open(self, name: str) -> Projection:
        """Give the projection of this name, which is made when it is first used."""

    def close(self) -> None:
        """Close every projection; a later use raises ``RuntimeClosed``."""


def open_projection_store(url: str) -> SQLiteProjectionStore:
    """Open the store that another process's ``SQLiteProjectionStore.url`` names."""
    return SQLiteProjectionStore(folder_from_url(url, owner="open_projection_store"))


class SQLiteProjectionStore:
    """A folder of SQLite databases, one per projection name; made when it is first needed.

    What a step writes happens at least once, so write it idempotently (``INSERT OR REPLACE``). It is on disk when the
    call, or the transaction, ends. Foreign keys are enforced.

    Args:
        busy_timeout: seconds to wait for another writer before ``StoreBusy``.

    Raises:
        ConfigError: the root is blank or the timeout out of range.
    """

    def __init__(self, root: str | os.PathLike[str], *, busy_timeout: float = 30.0) -> None:
        self.root = folder(root, owner="SQLiteProjectionStore")
        number = isinstance(busy_timeout, (int, float)) and not isinstance(busy_timeout, bool)
        if not number or not 0 < busy_timeout <= 3600:
            raise ConfigError(f"SQLiteProjectionStore: busy_timeout: expected 0 to 3600 seconds, got {busy_timeout!r}")
        self._busy_timeout = busy_timeout
        self._opened: dict[str, SQLiteProjection] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"SQLiteProjectionStore({str(self.root)!r})"

    @property
    def url(self) -> str:
        """The ``file:///`` URL that ``open_projection_store`` takes."""
        return self.root.as_uri()

    def open(self, name: str) -> SQLiteProjection:
        """Give the projection of this name; the same object each time.

        Raises:
            InvalidInput: the name is not 1-200 printable characters.
            RuntimeClosed: the store was closed.
        """
        problem = name_problem(name)
        if problem:
            raise InvalidInput(f"projection name: {problem}")
        opened = self._opened.setdefault(name, SQLiteProjection(name, self.root / file_name(name), self._busy_timeout))
        if self._is_closed:
            opened.close()
            raise RuntimeClosed(f"the projections in {self.root} were closed; make a new SQLiteProjectionStore")
        return opened

    def close(self) -> None:
        """Close every connection; one that is in use is closed by its user. Idempotent."""
        self._is_closed = True
        for projection in list(self._opened.values()):
            projection.close()


@attrs.define(eq=False)
class _Writing:
    """Who writes in this process, and the transactions that are open."""

    lock: threading.Lock = attrs.field(factory=threading.Lock)
    owner: _Owner | None = None
    transactions: dict[_Owner, sqlite3.Connection] = attrs.field(factory=dict)


class SQLiteProjection:
    """The projection kept in one SQLite file."""

    def __init__(self, name: str, path: Path, busy_timeout: float) -> None:
        self.name = name
        self.path = path
        self._connections = Connections(path, busy_timeout)
        self._writing = _Writing()

    def __repr__(self) -> str:
        return f"SQLiteProjection({self.name!r})"

    def execute(self, sql: str, args: Arguments = ()) -> int:
        """Run one statement and return how many rows it changed; commits by itself, outside ``transaction()``.

        Raises:
            StoreBusy: another writer kept the database locked.
            sqlite3.Error: the statement is wrong, or a constraint of the database refuses it.
        """
        with self._writer() as connection, self._statement(connection):
            cursor = connection.execute(sql, args)
            cursor.fetchall()
            return max(cursor.rowcount, 0)

    def executemany(self, sql: str, rows: Iterable[Arguments]) -> int:
        """Run one statement for each of *rows*, all or none, and return how many rows were changed.

        Raises:
            StoreBusy: another writer kept the database locked.
            sqlite3.Error: the statement is wrong, or a constraint of the database refuses it.
        """
        connection = self._joined()
        if connection is None:
            with self.transaction():
                return self.executemany(sql, rows)
        with self._statement(connection):
            return max(connection.executemany(sql, rows).rowcount, 0)

    def query(self, sql: str, args: Arguments = ()) -> list[dict[str, Any]]:
        """Run one statement and return its rows, each by column name; sees what the open transaction wrote.

        Raises:
            sqlite3.Error: the statement is wrong.
        """
        with self._reader() as connection, self._statement(connection):
            cursor = connection.execute(sql, args)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group the statements that this thread, or this asyncio task, makes meanwhile: all of them or none.

        Raises:
            InvalidTransition: one is open here already.
            StoreBusy: another writer kept the database locked.
        """
        if self._joined() is not None:
            raise InvalidTransition(f"projection {self.name!r}: a transaction is open here already; use that one")
        with self._writer() as connection:
            transactions, owner = self._writing.transactions, _owner()
            with sqlite_errors(self.path):
                connection.execute("BEGIN IMMEDIATE")
            transactions[owner] = connection
            try:
                yield
                self._check(connection, is_open=True)
                with sqlite_errors(self.path):
                    connection.execute("COMMIT")
            finally:
                del transactions[owner]

    def close(self) -> None:
        """Close its connections; one that is in use is closed by its user."""
        self._forget_parent()
        self._connections.close()

    def _forget_parent(self) -> None:
        if self._connections.pid != os.getpid():
            self._connections = self._connections.after_fork()
            self._writing = _Writing()

    def _joined(self) -> sqlite3.Connection | None:
        self._forget_parent()
        return self._writing.transactions.get(_owner())

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        joined = self._joined()
        if joined is not None:
            yield joined
            return
        with self._connections.lent() as connection:
            yield connection

    @contextmanager
    def _writer(self) -> Iterator[sqlite3.Connection]:
        joined = self._joined()
        if joined is not None:
            yield joined
            return
        writing, owner = self._writing, _owner()
        if writing.owner is not None and writing.owner[0] == owner[0]:
            # Waiting would stop the very event loop that the other task needs to come to its end.
            raise self._busy("another task of this event loop has a transaction open; await nothing inside one")
        # SQLite's own waiting is not fair: within the process writers queue here instead.
        if not writing.lock.acquire(timeout=self._connections.busy_timeout):
            raise self._busy("another thread has a transaction open; make it shorter")
        try:
            writing.owner = owner
            with self._connections.lent() as connection:
                yield connection
        finally:
            writing.owner = None
            writing.lock.release()

    @contextmanager
    def _statement(self, connection: sqlite3.Connection) -> Iterator[None]:
        is_open = self._joined() is not None
        self._check(connection, is_open=is_open)
        with sqlite_errors(self.path):
            yield
        self._check(connection, is_open=is_open)

    def _check(self, connection: sqlite3.Connection, *, is_open: bool) -> None:
        # Were the user's SQL to begin or end a transaction, what follows would be committed too late or too early.
        if connection.in_transaction is not is_open:
            raise InvalidTransition(
                f"projection {self.name!r}: a statement began or ended a transaction, or SQLite rolled it back after "
                "an error; group statements with transaction() instead, and let errors leave its block"
            )

    def _busy(self, reason: str) -> StoreBusy:
        return StoreBusy(f"projection {self.name!r}: {reason}")


def _owner() -> _Owner:
    # An event loop's tasks share a thread, but not what they have open.
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), id(task)
