"""One store's sessions and transactions."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from flowkit.clock import Clock
from flowkit.errors import DataCorrupted, StoreError
from flowkit.store.connections import Connections
from flowkit.store.connector import Connector, Program
from flowkit.store.lending import Lent
from flowkit.store.sessions import Row, Session
from flowkit.store.statements import Asked, Statement

__all__ = ["Connector", "Database", "Program", "Row", "Session"]

LONGEST_TURN = 0.05
"""Seconds for which it is waited that a writer of this process ends, to ask whether others have written."""


class Database:
    """Hands out sessions: any number of readers, one writer at a time in this process."""

    def __init__(self, connector: Connector, clock: Clock, program: Program | None = None) -> None:
        self.dialect = connector.dialect
        self.clock = clock
        self.connections = Connections(connector)
        self._connector = connector
        self._program = program
        self.copy: str | None = None
        self._local = threading.local()
        self._version: tuple[Any, int] | None = None
        _OPEN.add(self)

    def compile(self, query: Any) -> Statement:
        """Return a peewee query as a statement of this database's dialect."""
        return self.dialect.compile(query)

    def read(self) -> AbstractContextManager[Session]:
        """Open a session for reading; inside a transaction of this thread it is that transaction's."""
        return self._joined(writes=False) or _Reading(self)

    def write(self, first: Iterable[Asked] = ()) -> AbstractContextManager[Session]:
        """Open a transaction that commits when the block ends and rolls back when it raises.

        Args:
            first: asked for at once, where that spares a round trip; ``answer`` of the session gives its rows. It may
                be gone through while the transaction begins, and once more where that has to begin anew.
        """
        return self._joined(writes=True) or _Transaction(self, first)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call *call* now, or when the transaction that the program has open in this thread commits."""
        if self._program is not None and self._program.open_transaction() is not None:
            self._program.after_commit(call)
        else:
            call()

    def keep_copy(self, version: int, *, consents: bool) -> None:
        """Keep a copy of the store before something is removed from it; ``copy`` says where it is.

        Raises:
            StoreError: that cannot be done here, and nobody consents to go on without.
        """
        self.copy = self._connector.keep_copy(version, consents=consents)

    def joins_program(self) -> bool:
        """Whether this thread has a transaction of the program open that calls would join."""
        return self._program is not None and self._program.open_transaction() is not None

    def outlast(self) -> None:
        """Wait until every transaction has ended that may not have seen what is committed now."""
        if not self.dialect.one_writer:
            with self.connections.translated(), self.connections.lent(writes=False) as lent:
                self._connector.outlast(lent.raw)

    def others_committed(self, version_of: Callable[[Any], int]) -> bool:
        """Whether anybody else has committed since this was asked the last time; True also where that is not known.

        Args:
            version_of: gives a number that changes, for the connection that writes, with the commits of others alone.
        """
        writer = self.connections.writer
        if not writer.acquire(timeout=LONGEST_TURN):
            return True
        try:
            with self.connections.translated(), self.connections.lent(writes=True) as lent:
                version = (lent.raw, version_of(lent.raw))
        except Exception:  # whatever it is: who works with the store meets it too
            return True
        finally:
            writer.release()
        same, self._version = self._version == version, version
        return not same

    def outside(self) -> AbstractContextManager[Session]:
        """Open a session that sees what is committed, whatever transaction of the program this thread has open."""
        return _Reading(self)

    def _joined(self, *, writes: bool) -> AbstractContextManager[Session] | None:
        """Return the session that this thread has open, its own or one with the program's transaction; or None.

        Raises:
            StoreError: it was opened by the process that this one was forked from.
            DataCorrupted: something is to be written to a store that is damaged.
        """
        current: Session | None = getattr(self._local, "session", None)
        if current is not None:
            if self._local.pid != os.getpid():
                raise StoreError("this process was forked inside a transaction; open a Runtime of its own in the child")
            return nullcontext(current)
        if writes and self.connections.damage is not None:
            raise DataCorrupted(f"{self.connections.damage}; nothing more is written to it by this process")
        joined = self._program.open_transaction() if self._program else None
        return self._join(joined, writes=writes) if joined is not None else None

    @contextmanager
    def _join(self, raw: Any, *, writes: bool) -> Iterator[Session]:
        assert self._program is not None
        with self.connections.translated():
            raw = self._connector.join(raw)
            session = self._connector.session(raw, self.clock, self.dialect, writes=True)
            if not writes:
                yield session
                return
            # The program may catch an error and commit all the same: of a refused command nothing may be left then.
            raw.execute("SAVEPOINT flowkit")
            try:
                yield session
                self._connector.notify(raw, session.notices)
                self._program.after_commit(session.committed)
            except BaseException:
                raw.execute("ROLLBACK TO SAVEPOINT flowkit")
                raise
            finally:
                raw.execute("RELEASE SAVEPOINT flowkit")

    def enter(self, session: Session) -> None:
        """Let what this thread does from now on be done in this session."""
        self._local.session, self._local.pid = session, self.connections.pid

    def leave(self) -> None:
        """Let it be done in sessions of its own."""
        self._local.session = None

    def session(self, raw: Any, *, writes: bool) -> Session:
        """Return a session on a connection."""
        return self._connector.session(raw, self.clock, self.dialect, writes=writes)

    def close(self) -> None:
        """Close every idle connection; those in use close when they are given back. Idempotent."""
        self.connections.close()

    def before_fork(self) -> None:
        """Let what runs end, and close what is idle, so that the child inherits no connection and no lock."""
        if getattr(self._local, "session", None) is None:
            self.connections.writer.acquire()
        self.connections.lending.before_fork()

    def after_fork(self, *, child: bool) -> None:
        """Go on: the parent as before, the child with connections of its own."""
        inside = getattr(self._local, "session", None) is not None
        if child:
            self.connections.renew(self.connections.lending.after_fork())
            if inside:
                self.connections.pid = -1
        elif not inside:
            self.connections.writer.release()


class _Reading:
    """A session for reading.

    As a class, like ``_Transaction``: a generator for each thing that a session needs costs a tenth of a small one.
    """

    __slots__ = ("_connections", "_database", "_lent")

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connections = database.connections

    def __enter__(self) -> Session:
        connections = self._connections
        try:
            lent = self._lent = connections.borrow(writes=False)
            try:
                connections.connector.read(lent.raw)
                return self._database.session(lent.raw, writes=False)
            except BaseException:
                connections.give_back(lent)
                raise
        except BaseException as error:
            connections.tell(error)
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._connections.give_back(self._lent)
        except Exception as failed:
            self._connections.tell(failed)
            raise
        if error is not None:
            self._connections.tell(error)


class _Transaction:
    """A transaction: it commits when its block ends, and rolls back when that raises."""

    __slots__ = ("_connections", "_database", "_first", "_lent", "_session")

    def __init__(self, database: Database, first: Iterable[Asked]) -> None:
        self._database = database
        self._connections = database.connections
        self._first = first
        self._lent: Lent | None = None

    def __enter__(self) -> Session:
        connections, first = self._connections, self._first
        try:
            lent = self._lent = connections.borrow(writes=True)
            session = self._session = self._database.session(lent.raw, writes=True)
            session.opened_with(connections.connector.begin(lent.raw, first))
            self._database.enter(session)
        except BaseException as error:
            self._undo()
            connections.tell(error)
            raise
        return session

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        connections, lent = self._connections, self._lent
        assert lent is not None
        try:
            if error is None:
                connections.connector.commit(lent.raw, self._session.notices)
                self._end()
                self._session.committed()
            else:
                self._undo()
        except BaseException as failed:
            self._undo()
            connections.tell(failed)
            raise
        if error is not None:
            connections.tell(error)

    def _undo(self) -> None:
        if self._lent is not None:
            try:
                self._connections.roll_back(self._lent)
            finally:
                self._end()

    def _end(self) -> None:
        if self._lent is not None:
            try:
                self._database.leave()
            finally:
                self._connections.give_back(self._lent)
                self._lent = None

    def __del__(self) -> None:
        # Whoever was interrupted between two lines of these, by Ctrl-C, has left it to the collector.
        if getattr(self, "_lent", None) is not None:
            self._undo()


_OPEN: weakref.WeakSet[Database] = weakref.WeakSet()


def _each(call: Callable[[Database], None]) -> None:
    for database in list(_OPEN):
        call(database)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _each(lambda database: database.before_fork()),
        after_in_parent=lambda: _each(lambda database: database.after_fork(child=False)),
        after_in_child=lambda: _each(lambda database: database.after_fork(child=True)),
    )
