"""The SQLite file of one projection: its name, its few connections, and what SQLite's refusals mean."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from flowkit.errors import DataCorrupted, RuntimeClosed, StoreBusy, StoreError, StoreFull, StoreUnavailable
from flowkit.folders import make_folder, store_errors

_IDLE_CONNECTIONS = 4
_WAL_TRIES = 100
_PLAIN_NAME_LENGTH = 200
_REFUSALS: tuple[tuple[type[StoreError], tuple[str, ...], str], ...] = (
    (StoreBusy, ("is locked", "locking protocol"), "another program keeps it locked; try again"),
    (StoreFull, ("database or disk is full",), "free some space, then try again"),
    (
        DataCorrupted,
        ("image is malformed", "malformed database schema", "is not a database"),
        "restore the file from a backup",
    ),
    (StoreUnavailable, ("unable to open", "readonly", "disk I/O"), "check that the file and its folder are writable"),
)


def file_name(name: str) -> str:
    """Return a file name that no other projection has, even where case or Unicode forms are not told apart."""
    encoded = re.sub("[^a-z0-9_-]", lambda found: "".join(f"%{byte:02x}" for byte in found[0].encode()), name)
    if len(encoded) > _PLAIN_NAME_LENGTH:
        # "~" never comes out of the encoding, so no hash is another name's encoding.
        encoded = "~" + hashlib.sha256(name.encode()).hexdigest()
    return encoded + ".db"


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Raise what SQLite says about the file as a store error; what it says about a statement goes through as it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        about_file = type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError)
        for kind, words, advice in _REFUSALS:
            if about_file and any(word in str(error) for word in words):
                raise kind(f"projection file {path}: {error}; {advice}") from error
        raise


@attrs.define(eq=False)
class Connections:
    """The connections that one process has to one projection's file, each lent to one thread at a time.

    Attributes:
        busy_timeout: seconds to wait for another writer.
        pid: the process that made them.
    """

    path: Path
    busy_timeout: float
    is_closed: bool = False
    pid: int = attrs.field(factory=os.getpid)
    _parents: Connections | None = None
    _guard: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _idle: list[sqlite3.Connection] = attrs.field(factory=list, init=False)

    def after_fork(self) -> Connections:
        """Return what a forked child uses instead."""
        # The parent's connections are kept, so that nothing closes them here, and its locks may never be let go.
        return Connections(self.path, self.busy_timeout, self.is_closed, parents=self)

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection; what is not committed when it comes back is rolled back.

        Raises:
            RuntimeClosed: they were closed.
            StoreError: the file cannot be opened.
        """
        connection = self._take() or self._connect()
        try:
            yield connection
        finally:
            # In a child forked meanwhile it is the parent's connection, which must not be touched.
            if self.pid == os.getpid():
                self._give_back(connection)

    def close(self) -> None:
        """Close all but those that are lent, which are closed when they come back."""
        with self._guard:
            self.is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> sqlite3.Connection | None:
        with self._guard:
            if self.is_closed:
                raise RuntimeClosed(f"projection file {self.path} was closed; open it from a new store")
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: sqlite3.Connection) -> None:
        connection.rollback()
        with self._guard:
            if not self.is_closed and len(self._idle) < _IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> sqlite3.Connection:
        with store_errors(self.path):
            make_folder(self.path.parent)
            if self.path.is_symlink():
                raise StoreUnavailable(f"{self.path} is a symbolic link, which would lead out of the store; remove it")
        with sqlite_errors(self.path):
            connection = sqlite3.connect(
                self.path, timeout=self.busy_timeout, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA foreign_keys = ON")
                # A step is acknowledged after what it wrote here, so that must not be lost with the power.
                connection.execute("PRAGMA synchronous = FULL")
                self._use_wal(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # SQLite refuses at once, whatever its timeout, while another process does the same for a new file. Waiting to
        # write does heed the timeout, so that is how to wait.
        for _ in range(_WAL_TRIES):
            try:
                if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal":
                    return
            except sqlite3.OperationalError as error:
                if "is locked" not in str(error):
                    raise
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        raise StoreUnavailable(f"projection file {self.path}: no write-ahead log can be had; is the disk a local one?")
