"""The stores that users name: a SQLite file, or the program's own database; from an object or a URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import peewee

from flowkit.clock import Clock
from flowkit.errors import ConfigError
from flowkit.folders import require_nameable
from flowkit.store.engine import Engine
from flowkit.store.migrate import refuse_unfit, version_at
from flowkit.store.postgres_store import PostgresStore
from flowkit.store.program import PeeweeProgram
from flowkit.store.sqlite import Durability, SQLiteConnector, SQLiteLook, version_of
from flowkit.store.watching import FileWatcher, Watcher

BLANK_PATH = "sqlite workflow store path is required"


class Store(Protocol):
    """What a Runtime can be given."""

    consents: bool
    """Whether a step of a migration that removes something may be made where no copy can be kept."""

    def version(self, clock: Clock) -> int:
        """Return the version of the schema, 0 where there is none yet; nothing is changed."""

    def open(self, clock: Clock) -> Engine:
        """Open the store, migrating its schema; a store object serves one Runtime."""

    def watcher(self) -> Watcher | None:
        """Return what looks out for commits of other processes, if there can be any; the store is open."""


class SQLiteStore:
    """A store in one SQLite file.

    Args:
        path: the file; its directory is made. ``":memory:"`` is for one process and goes with it.
        durability: ``"disk"`` has everything on disk before it is acknowledged; ``"process"`` survives a crash of
            the process, but power loss may take the newest transactions.
        database: a peewee ``SqliteDatabase`` that the program has already. Commands called in a transaction that is
            open on it join that transaction; workers use connections of their own to the same file. The durability
            is then that of the program's connections, read when the store is opened.

    Raises:
        ConfigError: no path or none that can be, or a durability that is neither.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        durability: Durability = "disk",
        database: peewee.SqliteDatabase | None = None,
    ) -> None:
        if database is not None:
            path = _path_of(database, path)
        if path is not None and not isinstance(path, (str, os.PathLike)):
            raise ConfigError(f"SQLiteStore: path: expected a path, got {path!r}")
        text = os.fspath(path) if path is not None else ""
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(BLANK_PATH)
        require_nameable("SQLiteStore: path", text)
        if durability not in ("disk", "process"):
            raise ConfigError(f"SQLiteStore: durability: expected 'disk' or 'process', got {durability!r}")
        self.path = text
        self.durability: Durability = durability
        self._database = database
        self._engine: Engine | None = None
        self.consents = False

    def version(self, clock: Clock) -> int:
        """Return the version of the schema, 0 where there is none yet; nothing is changed."""
        return version_at(SQLiteLook(self.path, self.durability), clock)

    def open(self, clock: Clock) -> Engine:
        """Open the store, making or migrating its schema."""
        if self._engine is not None:
            raise ConfigError("a store object serves one Runtime; make another SQLiteStore for the second one")

        def vet(raw: Any) -> None:
            refuse_unfit(connector.session(raw, clock, connector.dialect, writes=False))

        connector = SQLiteConnector(self.path, self.durability, vet)
        connector.prepare()
        program = PeeweeProgram(self._database) if self._database is not None else None
        if program is not None:
            self.durability = program.read(_synchronous)
        self._engine = Engine(connector, clock, program, consents=self.consents)
        return self._engine

    def watcher(self) -> Watcher | None:
        """Return what looks at the write-ahead log, whose size or time changes with every commit."""
        engine = self._engine
        if self.path == ":memory:" or engine is None:
            return None
        log = Path(os.path.abspath(self.path) + "-wal")
        return FileWatcher(log, lambda: engine.db.others_committed(version_of))

    def __repr__(self) -> str:
        return f"SQLiteStore({self.path!r}, durability={self.durability!r})"


def _synchronous(connection: Any) -> Durability:
    # FULL is 2 and EXTRA is 3; below that, power loss may take the newest transactions.
    return "disk" if connection.execute("PRAGMA synchronous").fetchone()[0] >= 2 else "process"


def _path_of(database: Any, path: Any) -> str:
    if path is not None:
        raise ConfigError("SQLiteStore: path: expected none together with database=, which has its own")
    if not isinstance(database, peewee.SqliteDatabase):
        raise ConfigError(f"SQLiteStore: database: expected a peewee SqliteDatabase, got {type(database).__name__}")
    name = str(database.database or "")
    if name in ("", ":memory:") or name.startswith("file:"):
        raise ConfigError(f"SQLiteStore: database: expected one in a plain file, for workers to open too, got {name!r}")
    return name


def store_of(value: Any) -> Store:
    """Return the store that a Runtime was given as an object or a URL.

    Raises:
        ConfigError: None, a URL of an unknown kind, or something else altogether.
    """
    if value is None:
        raise ConfigError("workflow runtime store is required")
    if isinstance(value, str):
        return _from_url(value)
    if not hasattr(value, "open") or not hasattr(value, "watcher"):
        raise ConfigError(f"Runtime: store: expected a store or a URL like 'sqlite:///var/app.db', got {value!r}")
    store: Store = value
    return store


def _from_url(url: str) -> Store:
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return SQLiteStore(":memory:" if url == "sqlite://" else _path_in(url))
    if scheme in ("postgresql", "postgres"):
        return PostgresStore(url)
    kinds = "'sqlite:///var/app.db' or 'postgresql://user@host/database'"
    raise ConfigError(f"Runtime: store: expected a URL like {kinds}, got {url!r}")


def _path_in(url: str) -> str:
    prefix = "sqlite:///"
    if not url.startswith(prefix):
        forms = "sqlite:///var/app.db, sqlite:////srv/app.db for an absolute path, or sqlite:// for memory"
        raise ConfigError(f"Runtime: store: expected {forms}, got {url!r}")
    path = url[len(prefix) :]
    if "?" in path or "#" in path:
        what = "a sqlite URL takes no options; write ? and # in the name of a file as %3F and %23"
        raise ConfigError(f"Runtime: store: {url!r}: {what}")
    return unquote(path)
