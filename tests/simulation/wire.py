"""The wire between a host and the store: real SQLite behind it, and every fault that a connection can have."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from flowkit.clock import Clock
from flowkit.store.engine import Engine
from flowkit.store.sqlite import SQLiteConnector

if TYPE_CHECKING:
    from tests.simulation.host import Host


class Crashed(BaseException):
    """The process is dead: its code must not run on."""


class Planted(sqlite3.IntegrityError):
    """A statement that the simulation makes raise; it says nothing of the store."""


class Wire(SQLiteConnector):
    """Opens connections of one host to the one database of the world."""

    def __init__(self, host: Host, raw: sqlite3.Connection) -> None:
        super().__init__(":memory:", "process")
        # Each host has connections of its own, as processes have; only below them is it one database.
        self.single = False
        self._host = host
        self._raw = raw

    def connect(self) -> Any:
        self._host.reach_store()
        return Connection(self._host, self._raw)

    def _begin(self, raw: Any) -> None:
        # At once or not at all: on the one thread of the world nobody could end what is waited for.
        raw.execute(self.dialect.begin)


class SimStore:
    """What a host's Runtime is given as its store."""

    def __init__(self, host: Host, raw: sqlite3.Connection) -> None:
        self._wire = Wire(host, raw)

    def watcher(self) -> None:
        """Hosts are not told of each other's commits."""

    def open(self, clock: Clock) -> Engine:
        """Open the store."""
        return Engine(self._wire, clock)


class Connection:
    """A connection of a host: between its statements other hosts may act, and each of them may fail."""

    def __init__(self, host: Host, raw: sqlite3.Connection) -> None:
        self._host = host
        self._raw = raw
        self._incarnation = host.incarnation
        self._open = self._reads = False
        self._fails_in = 0
        self._fails_by = ""

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        """Run a statement, or the beginning or end of a transaction."""
        if sql == "BEGIN":
            return self._begin_reading()
        if sql.startswith("BEGIN"):
            return self._begin(sql)
        if sql == "COMMIT":
            return self._commit()
        if sql == "ROLLBACK":
            self._alive()
            self._open = False
            return self._raw.execute(sql)
        self._before()
        return self._real(self._raw.execute, sql, parameters)

    def executemany(self, sql: str, rows: Any) -> Any:
        """Run a statement many times."""
        self._before()
        return self._real(self._raw.executemany, sql, rows)

    def close(self) -> None:
        """Give up the connection."""
        self._open = False

    def _alive(self) -> None:
        if self._incarnation != self._host.incarnation or not self._host.is_up:
            raise Crashed

    def _real(self, call: Any, sql: str, parameters: Any) -> Any:
        try:
            return call(sql, parameters)
        except sqlite3.Error as error:
            # What SQLite itself refuses was not planted: a broken rule, found where it was broken.
            self._host.world.fail(f"the store refused a statement: {error}: {' '.join(sql.split())[:300]}")
            raise

    def _begin(self, sql: str) -> None:
        self._alive()
        world, host = self._host.world, self._host
        world.moment(host)
        self._alive()
        host.reach_store()
        if world.faults.strikes("busy", 0.01):
            raise sqlite3.OperationalError("database is locked")
        self._raw.execute(sql)
        self._open = True
        self._boundary("begun")
        self._fails_in = 0
        for kind in ("statement", "full", "crash"):
            if world.faults.strikes(kind, 0.004):
                self._fails_in, self._fails_by = world.choices.of("where").randint(1, 14), kind
                break

    def _begin_reading(self) -> Any:
        self._before()
        self._open = self._reads = True
        self._fails_in = 0
        return self._raw.execute("BEGIN")

    def _before(self) -> None:
        self._alive()
        host = self._host
        host.world.statements += 1
        self._boundary("statement")
        if not self._open:
            host.world.moment(host)
            self._alive()
            host.reach_store()
            return
        self._fails_in -= 1
        if self._fails_in == 0:
            self._fail(self._fails_by)

    def _fail(self, kind: str) -> None:
        if kind == "statement":
            raise Planted("a planted refusal")
        self._undo()
        if kind == "full":
            # SQLite rolls back by itself then, so that the ROLLBACK which follows is refused.
            raise sqlite3.OperationalError("database or disk is full")
        self._host.crash("inside a transaction")
        raise Crashed

    def _boundary(self, name: str) -> None:
        if self._host.world.dies_at(name):
            if self._open:
                self._undo()
            self._host.crash(f"at boundary {name}")
            raise Crashed

    def _undo(self) -> None:
        self._raw.execute("ROLLBACK")
        self._open = False

    def _commit(self) -> None:
        self._alive()
        world, host = self._host.world, self._host
        if self._reads:
            self._raw.execute("COMMIT")
            self._open = self._reads = False
            return
        self._boundary("commit")
        if world.faults.strikes("crash", 0.003):
            self._undo()
            host.crash("before a commit")
            raise Crashed
        if world.faults.strikes("lost", 0.006):
            self._undo()
            raise sqlite3.OperationalError("disk I/O error")
        self._raw.execute("COMMIT")
        self._open = False
        world.committed(host)
        self._boundary("committed")
        if world.faults.strikes("crash", 0.003):
            host.crash("after a commit")
            raise Crashed
        if world.faults.strikes("unknown", 0.008):
            raise sqlite3.OperationalError("disk I/O error")
        world.moment(host)
        self._alive()
