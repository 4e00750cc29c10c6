"""What is the program's own business when it joins flowkit to its SQLite database: durability, and how to begin."""

from __future__ import annotations

from pathlib import Path

import peewee
import pytest

from flowkit import Runtime, SQLiteStore, StoreBusy
from tests.places import Place
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import echo, start


@pytest.mark.parametrize(("synchronous", "durability"), [("full", "disk"), ("normal", "process"), ("off", "process")])
def test_the_durability_is_that_of_the_programs_connections(tmp_path: Path, synchronous: str, durability: str) -> None:
    database = peewee.SqliteDatabase(str(tmp_path / "program.db"), pragmas={"synchronous": synchronous})
    store = SQLiteStore(database=database)
    with Runtime(store, entry_points=False):
        assert store.durability == durability
    assert database.is_closed()


def test_a_transaction_that_read_too_early_is_told_how_to_begin(sound: Place, open_runtime: OpenRuntime) -> None:
    """SQLite refuses to write on what was read before another one wrote, however long one waits."""
    program = sound.program()
    program.execute_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    runtime, other = open_runtime(echo, store=sound.joined(program)), open_runtime(echo)
    with pytest.raises(StoreBusy, match="IMMEDIATE"), program.atomic():
        assert program.execute_sql("SELECT id FROM orders").fetchall() == []
        start(other, lambda run: run.step("a", echo, 1))
        start(runtime, lambda run: run.step("a", echo, 2))
    program.close()
