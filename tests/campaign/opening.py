"""What is killed while it opens a store: one that makes it, one that brings it up to date."""

from __future__ import annotations

from pathlib import Path

from flowkit import Runtime
from flowkit.clock import SystemClock
from flowkit.store.database import Database, Session
from flowkit.store.migrate import migrate
from flowkit.store.tables import make_tables
from tests.places import Place, SQLitePlace
from tests.postgres import PostgresPlace

LAST = 6
ROWS, AT_ONCE = 10_000, 500


def _advance(version: int) -> object:
    def step(tx: Session) -> None:
        tx.script(f"CREATE TABLE of_version_{version} (a INTEGER)")
        for first in range(0, ROWS, AT_ONCE):
            numbers = f"SELECT {first} UNION ALL SELECT a + 1 FROM n WHERE a + 1 < {first + AT_ONCE}"
            tx.script(f"WITH RECURSIVE n (a) AS ({numbers}) INSERT INTO of_version_{version} SELECT a FROM n")

    return step


STEPS = {version: _advance(version) for version in range(2, LAST + 1)}


def place_at(url: str) -> Place:
    """Return the place that a URL leads to."""
    file = url.removeprefix("sqlite:///")
    return PostgresPlace(url) if file == url else SQLitePlace(Path(file))


def make(url: str) -> None:
    """Open a store, which makes it where there is none."""
    Runtime(place_at(url).store(), entry_points=False).close()


def open_database(url: str) -> Database:
    """Open what holds a store without asking for its version."""
    connector = place_at(url).connector()
    connector.prepare()
    return Database(connector, SystemClock())


def advance(url: str, version: int = LAST) -> None:
    """Bring a store to a version that is yet to come, in steps that each take a while."""
    db = open_database(url)
    migrate(db, make_tables(db.dialect), steps=STEPS, version=int(version))
    db.close()
