"""One store's connections and transactions: who may write now, on which connection, and what an error there means."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from flowkit.clock import Clock
from flowkit.errors import DataCorrupted, StoreError
from flowkit.store.connector import Connector, Program
from flowkit.store.lending import Lending, Lent
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
        self._connector = connector
        self._program = program
        self._damage: str | None = None
        self.copy: str | None = None
        self._local = threading.local()
        self._version: tuple[Any, int] | None = None
        self._renew(Lending(connector))
        _OPEN.add(self)

    def _renew(self, lending: Lending) -> None:
        self._pid = os.getpid()
        self._lending = lending
        # Threads of one process queue here, in order, rather than at SQLite's busy handler, which sleeps.
        self._writer = threading.RLock()

    def compile(self, query: Any) -> Statement:
        """Return a peewee query as a statement of this database's dialect."""
        return self.dialect.compile(query)

    def read(self) -> AbstractContextManager[Session]:
        """Open a session for reading; inside a transaction of this thread it is that transaction's."""
        return self._session(writes=False)

    def write(self, first: Sequence[Asked] = ()) -> AbstractContextManager[Session]:
        """Open a transaction that commits when the block ends and rolls back when it raises.

        Args:
            first: asked for at once, where that spares a round trip; ``answer`` of the session gives its rows.
        """
        return self._session(writes=True, first=first)

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
            with self._translated(), self._connection(writes=False) as lent:
                self._connector.outlast(lent.raw)

    def others_committed(self, version_of: Callable[[Any], int]) -> bool:
        """Whether anybody else has committed since this was asked the last time; True also where that is not known.

        Args:
            version_of: gives a number that changes, for the connection that writes, with the commits of others alone.
        """
        writer = self._writer
        if not writer.acquire(timeout=LONGEST_TURN):
            return True
        try:
            with self._translated(), self._connection(writes=True) as lent:
                version = (lent.raw, version_of(lent.raw))
        except Exception:  # whatever it is: who works with the store meets it too
            return True
        finally:
            writer.release()
        same, self._version = self._version == version, version
        return not same

    @contextmanager
    def outside(self) -> Iterator[Session]:
        """Open a session that sees what is committed, whatever transaction of the program this thread has open."""
        with self._translated():
            yield from self._reading()

    @contextmanager
    def _session(self, *, writes: bool, first: Sequence[Asked] = ()) -> Iterator[Session]:
        current: Session | None = getattr(self._local, "session", None)
        if current is not None:
            if self._local.pid != os.getpid():
                raise StoreError("this process was forked inside a transaction; open a Runtime of its own in the child")
            yield current
            return
        if writes and self._damage is not None:
            raise DataCorrupted(f"{self._damage}; nothing more is written to it by this process")
        joined = self._program.open_transaction() if self._program else None
        with self._translated():
            if joined is not None:
                yield from self._join(joined, writes=writes)
            elif writes:
                yield from self._transaction(first)
            else:
                yield from self._reading()

    def _join(self, raw: Any, *, writes: bool) -> Iterator[Session]:
        assert self._program is not None
        raw = self._connector.join(raw)
        session = self._connector.session(raw, self.clock, self.dialect, writes=True, joined=True)
        if not writes:
            yield session
            return
        # The program may catch an error and commit all the same: of a refused command nothing may be left then.
        raw.execute("SAVEPOINT flowkit")
        try:
            yield session
            self._connector.notify(raw, session.notices)
        except BaseException:
            raw.execute("ROLLBACK TO SAVEPOINT flowkit")
            raise
        finally:
            raw.execute("RELEASE SAVEPOINT flowkit")
        self._program.after_commit(session.committed)

    def _transaction(self, first: Sequence[Asked]) -> Iterator[Session]:
        with self._connection(writes=True) as lent:
            session = self._connector.session(lent.raw, self.clock, self.dialect, writes=True)
            try:
                session.opened_with(first, self._connector.begin(lent.raw, first))
                self._local.session, self._local.pid = session, self._pid
                yield session
                self._connector.commit(lent.raw, session.notices)
            except BaseException:
                self._roll_back(lent)
                raise
            finally:
                self._local.session = None
        session.committed()

    def _reading(self) -> Iterator[Session]:
        with self._connection(writes=False) as lent:
            self._connector.read(lent.raw)
            yield self._connector.session(lent.raw, self.clock, self.dialect, writes=False)

    def _roll_back(self, lent: Lent) -> None:
        try:
            self._connector.rollback(lent.raw)
        except Exception:
            # The database has rolled back by itself (full disk), or is gone: a new connection settles both.
            lent.broken = True

    @contextmanager
    def _connection(self, *, writes: bool) -> Iterator[Lent]:
        if os.getpid() != self._pid:
            self._renew(self._lending.after_fork())
        lock = self._writer
        locked = self._connector.single or (writes and self.dialect.one_writer)
        if locked:
            lock.acquire()
        try:
            lent = self._lending.take(writes=writes)
            try:
                yield lent
            finally:
                self._lending.give_back(lent)
        finally:
            if locked:
                lock.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            told = self._connector.translate(error)
            if told is None:
                raise
            if isinstance(told, DataCorrupted):
                # What is written to a damaged file may land on what is still whole.
                self._damage = str(told)
            raise told from error

    def close(self) -> None:
        """Close every idle connection; those in use close when they are given back. Idempotent."""
        if os.getpid() != self._pid:
            return
        self._lending.close()

    def before_fork(self) -> None:
        """Let what runs end, and close what is idle, so that the child inherits no connection and no lock."""
        if getattr(self._local, "session", None) is None:
            self._writer.acquire()
        self._lending.before_fork()

    def after_fork(self, *, child: bool) -> None:
        """Go on: the parent as before, the child with connections of its own."""
        inside = getattr(self._local, "session", None) is not None
        if child:
            self._renew(self._lending.after_fork())
            if inside:
                self._pid = -1
        elif not inside:
            self._writer.release()


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
