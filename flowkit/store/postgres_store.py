"""A store in a PostgreSQL database, or beside the tables of the program's own one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import peewee

from flowkit.clock import Clock, FollowingClock, SystemClock
from flowkit.errors import ConfigError
from flowkit.model.names import name_problem
from flowkit.store.engine import Engine
from flowkit.store.listening import Listener
from flowkit.store.migrate import version_at
from flowkit.store.postgres import DEFAULTS, PostgresConnector, channel_of
from flowkit.store.postgres_connection import driver
from flowkit.store.program import PeeweeProgram
from flowkit.store.watching import Watcher

SCHEMA = "flowkit"
POOL_SIZE = 10
MAX_SCHEMA = 48
"""How many bytes a schema's name may have, so that the channel of its notices fits into a name too."""


class PostgresStore:
    """A store in one schema of a PostgreSQL database, for workers on any number of hosts.

    Args:
        dsn: where the database is: ``"postgresql://user@host/database"`` or another form that libpq knows.
        schema: the schema of flowkit's tables; it is made if it is not there. Stores in different schemas of one
            database know nothing of each other.
        pool_size: how many connections this process has in use at once, one for notices apart; a thread that needs
            one more waits.
        database: a peewee ``PostgresqlDatabase`` on psycopg 3 that the program has already. Commands called in a
            transaction that is open on it join that transaction; workers use connections of their own to the same
            database.
        listen_dsn: where to listen for notices, if *dsn* leads to a pooler that gives a connection to others after
            each transaction; without it the store is polled there.

    Raises:
        MissingExtra: psycopg is not installed.
        ConfigError: no dsn, or one that cannot be read; a bad schema or pool size.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        schema: str = SCHEMA,
        pool_size: int = POOL_SIZE,
        database: peewee.PostgresqlDatabase | None = None,
        listen_dsn: str | None = None,
    ) -> None:
        psycopg = driver()
        if database is not None:
            self._arguments = _arguments_of(database, dsn)
        else:
            if not isinstance(dsn, str) or not dsn.strip():
                raise ConfigError("PostgresStore: dsn: expected one like 'postgresql://user@host/database'")
            try:
                self._arguments = psycopg.conninfo.conninfo_to_dict(dsn)
            except psycopg.ProgrammingError as error:
                raise ConfigError(f"PostgresStore: dsn: {error}".strip()) from error
        problem = name_problem(schema) if isinstance(schema, str) else "it is no text"
        if problem or len(schema.encode()) > MAX_SCHEMA or schema.startswith("pg_"):
            why = problem or f"at most {MAX_SCHEMA} bytes, and none that begins with pg_"
            raise ConfigError(f"PostgresStore: schema: {why}, got {schema!r}")
        if isinstance(pool_size, bool) or not isinstance(pool_size, int) or pool_size < 1:
            raise ConfigError(f"PostgresStore: pool_size: expected an int from 1, got {pool_size!r}")
        self.schema = schema
        self.pool_size = pool_size
        self.listen_dsn = listen_dsn
        self.durability: str | None = None
        self._database = database
        self._engine: Engine | None = None
        self.consents = False

    def _connector(self) -> PostgresConnector:
        return PostgresConnector(self._arguments, self.schema, self.pool_size, self._place)

    def version(self, clock: Clock) -> int:
        """Return the version of the schema, 0 where there is none yet; nothing is changed."""
        return version_at(self._connector(), clock)

    def open(self, clock: Clock) -> Engine:
        """Open the store, making or migrating its schema."""
        if self._engine is not None:
            raise ConfigError("a store object serves one Runtime; make another PostgresStore for the second one")
        connector = self._connector()
        if isinstance(clock, SystemClock):
            # Hosts do not agree on the time, so the server tells it; a clock that the program gave is the one to go by.
            clock = connector.clock = FollowingClock()
        program = PeeweeProgram(self._database) if self._database is not None else None
        self.durability = connector.prepare()
        self._engine = Engine(connector, clock, program, consents=self.consents)
        return self._engine

    def watcher(self) -> Watcher | None:
        """Return what listens to the notices of other processes."""
        engine, arguments = self._engine, self._arguments
        assert engine is not None, "a store is watched once it is open"
        if self.listen_dsn is not None:
            arguments = driver().conninfo.conninfo_to_dict(self.listen_dsn)

        def send(notice: str) -> None:
            with engine.write() as tx:
                tx.notify(notice)

        return Listener({**DEFAULTS, **arguments}, channel_of(self.schema), send)

    @property
    def _place(self) -> str:
        known = self._arguments
        where = known.get("host") or known.get("hostaddr") or known.get("service") or "the local server"
        return f"postgresql store {known.get('dbname') or known.get('user') or ''!s}.{self.schema} on {where}"

    def __repr__(self) -> str:
        return f"PostgresStore({self._place!r}, durability={self.durability!r})"


def _arguments_of(database: Any, dsn: Any) -> Mapping[str, Any]:
    if dsn is not None:
        raise ConfigError("PostgresStore: dsn: expected none together with database=, which has its own")
    if not isinstance(database, peewee.PostgresqlDatabase):
        kind = type(database).__name__
        raise ConfigError(f"PostgresStore: database: expected a peewee PostgresqlDatabase, got {kind}")
    if not isinstance(getattr(database, "_adapter", None), peewee.Psycopg3Adapter):
        raise ConfigError("PostgresStore: database: expected one made with prefer_psycopg3=True")
    psycopg = driver()
    name, given = str(database.database or ""), dict(database.connect_params)
    is_dsn = "=" in name or name.startswith(("postgresql://", "postgres://"))
    # What the program tells psycopg beyond where the database is, such as how to make rows, is for its own connections.
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    where = psycopg.conninfo.conninfo_to_dict(name) if is_dsn else {"dbname": name}
    return {**where, **{key: value for key, value in given.items() if key in known}}
