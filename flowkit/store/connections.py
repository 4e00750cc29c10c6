"""One store's connections: who may write now, on which connection, and what an error there means."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flowkit.errors import DataCorrupted
from flowkit.store.connector import Connector
from flowkit.store.lending import Lending, Lent


class Connections:
    """Lends connections to sessions: any number to readers, and to one writer at a time where there is only one.

    Attributes:
        writer: whoever writes has it, where there is one writer at a time.
        damage: what is wrong with the store, once that is known.
        pid: the process that these are connections of.
    """

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self.damage: str | None = None
        self.renew(Lending(connector))

    def renew(self, lending: Lending) -> None:
        """Go on with the connections of this process alone."""
        self.pid = os.getpid()
        self.lending = lending
        # Threads of one process queue here, in order, rather than at SQLite's busy handler, which sleeps.
        self.writer = threading.RLock()

    def borrow(self, *, writes: bool) -> Lent:
        """Take a connection, once it is this thread's turn."""
        if os.getpid() != self.pid:
            self.renew(self.lending.after_fork())
        connector, turn = self.connector, None
        if connector.single or (writes and connector.dialect.one_writer):
            turn = self.writer
            turn.acquire()
        try:
            lent = self.lending.take(writes=writes)
        except BaseException:
            if turn is not None:
                turn.release()
            raise
        lent.turn = turn
        return lent

    def give_back(self, lent: Lent) -> None:
        """Take a connection back, and let the next one have its turn."""
        try:
            self.lending.give_back(lent)
        finally:
            turn, lent.turn = lent.turn, None
            if turn is not None:
                turn.release()

    @contextmanager
    def lent(self, *, writes: bool) -> Iterator[Lent]:
        """Lend a connection for the length of a block."""
        lent = self.borrow(writes=writes)
        try:
            yield lent
        finally:
            self.give_back(lent)

    def roll_back(self, lent: Lent) -> None:
        """Undo what was done on a connection since its transaction began."""
        # Of more use only once that has succeeded: else the database has rolled back by itself (full disk), or is gone,
        # or whoever waited for it was interrupted. A new connection settles all of these.
        lent.broken = True
        try:
            self.connector.rollback(lent.raw)
        except Exception:
            return
        lent.broken = False

    def tell(self, error: BaseException) -> None:
        """Raise what an error means for the store, if it is about that."""
        told = self.connector.translate(error)
        if told is None:
            return
        if isinstance(told, DataCorrupted):
            # What is written to a damaged file may land on what is still whole.
            self.damage = str(told)
        raise told from error

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise what errors in a block mean for the store."""
        try:
            yield
        except Exception as error:
            self.tell(error)
            raise

    def close(self) -> None:
        """Close every idle connection; those in use close when they are given back. Idempotent."""
        if os.getpid() == self.pid:
            self.lending.close()
