"""What is killed while it opens a store: one that makes it, one that brings it up to date."""

from __future__ import annotations

from flowkit import Runtime, SQLiteStore
from flowkit.clock import SystemClock
from flowkit.store.database import Database, Session
from flowkit.store.migrate import migrate
from flowkit.store.sqlite import SQLiteConnector
from flowkit.store.tables import make_tables

LAST = 6
ROWS = 200


def _advance(version: int) -> object:
    def step(tx: Session) -> None:
        tx.script(f"CREATE TABLE of_version_{version} (a INTEGER)")
        for number in range(ROWS):
            tx.script(f"INSERT INTO of_version_{version} VALUES ({number})")

    return step


STEPS = {version: _advance(version) for version in range(2, LAST + 1)}


def make(path: str) -> None:
    """Open a store, which makes it where there is none."""
    Runtime(SQLiteStore(path, durability="process"), entry_points=False).close()


def open_database(path: str) -> Database:
    """Open the file of a store without asking for its version."""
    connector = SQLiteConnector(path, "process")
    connector.prepare()
    return Database(connector, SystemClock())


def advance(path: str, version: int = LAST) -> None:
    """Bring a store to a version that is yet to come, in steps that each take a while."""
    db = open_database(path)
    migrate(db, make_tables(db.dialect), steps=STEPS, version=int(version))
    db.close()
