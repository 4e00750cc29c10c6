"""How flowkit opens SQLite: pragmas, what its errors mean, and which files it refuses."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from flowkit.errors import (
    ConfigError,
    DataCorrupted,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from flowkit.store.dialect import SQLiteDialect
from flowkit.store.sessions import Row, Session
from flowkit.store.sqlite_turns import BUSY_SECONDS, Turns, is_busy
from flowkit.store.statements import Asked

Durability = Literal["disk", "process"]
OLDEST = (3, 35, 0)
LOOKED_THROUGH_BYTES = 64 << 20
"""Up to this size a file is looked through when it is opened after a crash: that takes a fraction of a second."""
_WAL_TRIES = 100
# A log that is written over takes no new blocks of its file system: a commit to it took 0.14 ms where one to a log that
# grows took 0.25. So it is begun anew after 4 MB, as SQLite does by itself: with more, fewer commits meet a checkpoint,
# which takes 1 ms, and all until then are slower. Once a reader that held a checkpoint up has ended, a log of over
# 16 MB is cut back.
_PRAGMAS = ("foreign_keys = ON", "temp_store = MEMORY", "wal_autocheckpoint = 1000", "journal_size_limit = 16384000")
MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "fuse.sshfs", "ceph", "glusterfs", "lustre"})


class SQLiteConnector:
    """Opens connections to one SQLite file, or shares one connection to memory.

    Args:
        vet: called with the first connection to a file that holds something and is not in WAL mode, as a copy of a
            store or another program's file; raises where it is to be left as it is.
    """

    session = Session
    pool_size = None

    def __init__(
        self, path: str, durability: Durability, vet: Callable[[sqlite3.Connection], None] = lambda _: None
    ) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            raise ConfigError(
                f"flowkit needs SQLite 3.35 or newer (RETURNING), this Python has {sqlite3.sqlite_version}; "
                "use a newer Python build or flowkit-durable[postgres]"
            )
        self.dialect = SQLiteDialect()
        self.single = path == ":memory:"
        self.path = path
        # A later change of the working directory must not lead to another file.
        self._file = os.path.abspath(path)
        self._identity: tuple[int, int] | None = None
        self._vet = vet
        self._turns = Turns()
        self._synchronous = "FULL" if durability == "disk" else "NORMAL"

    @property
    def wal(self) -> Path | None:
        """The write-ahead log, whose size and time change with every commit of any process."""
        return None if self.single else Path(self._file + "-wal")

    def prepare(self) -> None:
        """Make the parent directory; refuse a file system on which SQLite's locks do not hold, and a damaged file.

        Raises:
            StoreUnavailable: the directory cannot be made, or lies on a network.
            DataCorrupted: the file was left by a crash, is not large, and SQLite finds damage in it.
        """
        if self.single:
            return
        parent = Path(self._file).parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"cannot make the directory of the sqlite store {self.path!r}: {error}") from error
        kind = _file_system(parent)
        if kind in _NETWORK:
            raise StoreUnavailable(
                f"the sqlite store {self.path!r} lies on a network file system ({kind}), where SQLite's locks do not "
                "hold; put it on a local disk or use a postgresql:// store"
            )
        if self._was_left_open():
            self._look_through()

    def _was_left_open(self) -> bool:
        # Whoever closes a file last removes its log. One that is there tells of a crash, or of a process at work.
        try:
            left, size = os.stat(f"{self._file}-wal").st_size, os.stat(self._file).st_size
        except OSError:
            return False
        return left > 0 and size + left <= LOOKED_THROUGH_BYTES

    def _look_through(self) -> None:
        try:
            connection = self.connect()
            try:
                problems = look_through(connection.execute)
            finally:
                connection.close()
        except sqlite3.Error as error:
            told = self.translate(error)
            if not isinstance(told, DataCorrupted):
                raise told or error from error
            problems = [str(error)]
        if problems:
            raise DataCorrupted(f"{_damaged(self.path, problems[0])}; nothing was written")

    def keep_copy(self, version: int, *, consents: bool) -> str | None:
        """Keep a copy beside the file; a store in memory is gone soon enough without one."""
        if self.single:
            return None
        copy = f"{self.path}.schema-{version}"
        # What is there is of a migration that did not come to its end: the store is still the one that it copied.
        for left in (f"{copy}.part", copy):
            Path(left).unlink(missing_ok=True)
        connection = self.connect()
        try:
            connection.execute("VACUUM INTO ?", (f"{copy}.part",))
        finally:
            connection.close()
        os.replace(f"{copy}.part", copy)
        return copy

    def connect(self) -> sqlite3.Connection:
        """Open a connection in autocommit mode with flowkit's pragmas."""
        self._verify()
        mode = "rwc" if self._identity is None else "rw"
        connection = sqlite3.connect(
            self.path if self.single else f"file:{quote(os.fsencode(self._file))}?mode={mode}",
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            uri=not self.single,
        )
        try:
            self._set_up(connection)
            if self._identity is None and not self.single:
                self._identity = _identity(self._file)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        if not self.single:
            self._use_wal(connection)
        for pragma in (f"synchronous = {self._synchronous}", *_PRAGMAS):
            connection.execute(f"PRAGMA {pragma}")

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # Switching to WAL is refused at once, whatever the timeout, while another process is switching too. Waiting to
        # write does heed the timeout, so that is how to wait.
        for _ in range(_WAL_TRIES):
            try:
                # Asked first: to switch writes to the file, which may be of another program.
                if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                    return
                if self._identity is None and os.stat(self._file).st_size:
                    self._vet(connection)
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")

    def join(self, raw: Any) -> Any:
        """Return the program's connection, as it is."""
        return raw

    def begin(self, raw: Any, first: Iterable[Asked] = ()) -> list[tuple[Asked, list[Row]]]:
        """Open a transaction with its *first* statements, and return each with its rows."""
        # What makes them takes its time before other writers have to wait for this one.
        first = list(first)
        self._verify()
        self._begin(raw)
        return [(asked, raw.execute(*asked.say()).fetchall()) for asked in first]

    def _begin(self, raw: Any) -> None:
        self._turns.begin(raw, self.dialect.begin)

    def read(self, raw: Any) -> None:
        """Make ready for reads."""
        self._verify()

    def _verify(self) -> None:
        # What is written to a file that was removed is lost with the last connection to it, however often it was
        # acknowledged; and a new file in its place knows nothing of what this process has open.
        if self._identity is not None and _identity(self._file) != self._identity:
            raise StoreUnavailable(
                f"the sqlite store {self.path!r} was removed, or replaced by another file, while it was open; put it "
                "back, or restart this process to work on the file that is there now"
            )

    def notify(self, raw: Any, notices: Sequence[str]) -> None:
        """Tell nobody: other processes see the log grow."""

    def commit(self, raw: Any, notices: Sequence[str]) -> None:
        """Commit."""
        raw.execute("COMMIT")

    def rollback(self, raw: Any) -> None:
        """Roll back."""
        raw.execute("ROLLBACK")

    def outlast(self, raw: Any) -> None:
        """Wait for nobody: who has written was alone."""

    def translate(self, error: BaseException) -> StoreError | None:
        """Return what an error of ``sqlite3`` means."""
        return translate(error, self.path)


class SQLiteLook(SQLiteConnector):
    """Opens connections that leave the file as it is, its journal mode too."""

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        return


def version_of(raw: Any) -> int:
    """Return a number that stays the same on this connection until another one has committed."""
    return int(raw.execute("PRAGMA data_version").fetchone()[0])


def _identity(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def translate(error: BaseException, path: str) -> StoreError | None:
    """Return what an error of ``sqlite3`` means for the store at *path*, or None where it says nothing about it."""
    if not isinstance(error, sqlite3.Error) or isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
        return None
    text = str(error)
    place = f"sqlite store {path!r}"
    if "full" in text:
        return StoreFull(f"no space is left for the {place}: {text}; work goes on by itself when there is some")
    if is_busy(error):
        own = "a transaction of the program's own that reads before it writes must begin with atomic('IMMEDIATE')"
        return StoreBusy(f"another connection holds the {place} ({text}; waited up to {BUSY_SECONDS:g} s); {own}")
    if "malformed" in text or "not a database" in text:
        return DataCorrupted(_damaged(path, text))
    if any(word in text for word in ("unable to open", "readonly", "I/O", "disk")):
        return StoreUnavailable(f"the {place} cannot be used: {text}; are the file and its directory writable?")
    return None


def look_through(execute: Callable[[str], Any], most: int = 10) -> list[str]:
    """Return what SQLite finds wrong with the pages of a file, up to *most* lines; reads all of it."""
    lines = [str(row[0]) for row in execute(f"PRAGMA quick_check({most})")]
    return [] if lines == ["ok"] else [line for text in lines for line in text.splitlines()][:most]


def _damaged(path: str, text: str) -> str:
    return (
        f"the sqlite store {path!r} is damaged: {text}; stop what uses it and restore it from a backup, or copy what "
        "can be read (sqlite3 FILE .recover) and look at that with flowkit check --store"
    )


def _file_system(directory: Path) -> str | None:
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    best, kind = "", None
    here = os.path.realpath(directory)
    for line in lines:
        fields = line.split(" ")
        mount = fields[4].replace("\\040", " ")
        inside = here == mount or here.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, fields[fields.index("-") + 1]
    return kind
