"""A step that removes something waits for whoever has a backup: flowkit cannot copy a PostgreSQL store itself."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from flowkit import StoreError, SystemClock
from flowkit.store.database import Database, Session
from flowkit.store.migrate import migrate, stored_version
from flowkit.store.stores import store_of
from flowkit.store.tables import Tables
from tests.postgres import Databases


@pytest.fixture
def opened(postgres: Databases) -> Iterator[tuple[Database, Tables]]:
    with postgres.empty() as place:
        engine = store_of(place.url).open(SystemClock())
        yield engine.db, engine.tables
        engine.db.close()


def remove(tx: Session) -> None:
    tx.script("DROP TABLE progress")


def version_of(db: Database) -> int:
    with db.read() as tx:
        return stored_version(tx)


def test_without_consent_it_is_refused_and_nothing_is_changed(opened: tuple[Database, Tables]) -> None:
    db, tables = opened
    before = version_of(db)
    new = before + 1
    with pytest.raises(StoreError, match="take a backup with pg_dump, then: flowkit migrate --yes"):
        migrate(db, tables, steps={new: remove}, version=new, destructive={new})
    assert version_of(db) == before


def test_with_consent_it_is_made(opened: tuple[Database, Tables]) -> None:
    db, tables = opened
    new = version_of(db) + 1
    migrate(db, tables, steps={new: remove}, version=new, destructive={new}, consents=True)
    assert version_of(db) == new


def test_the_version_is_told_without_making_a_store(postgres: Databases) -> None:
    with postgres.empty() as place:
        assert [store_of(place.url).version(SystemClock()) for _ in range(2)] == [0, 0]


def test_a_schema_with_tables_of_somebody_elses_is_refused_and_left_untouched(postgres: Databases) -> None:
    with postgres.empty() as place:
        with psycopg.connect(place.url, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA flowkit")
            connection.execute("CREATE TABLE flowkit.runs (title text)")
        with pytest.raises(StoreError, match="has a table runs that flowkit did not make.*a schema of its own"):
            store_of(place.url).open(SystemClock())
        assert store_of(place.url).version(SystemClock()) == 0
