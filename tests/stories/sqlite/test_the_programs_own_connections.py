"""What is the program's own business when it joins flowkit to its SQLite database: durability, and how to begin."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import peewee
import pytest

from flowkit import Runtime, SQLiteStore, StoreBusy, WaitTimeout
from flowkit.testing import FakeClock
from tests.places import Place
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import echo, eventually, start


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


def test_who_waits_in_a_transaction_that_keeps_workers_from_writing_is_warned(
    sound: Place, open_runtime: OpenRuntime, flowkit_clock: FakeClock, log: list[Any]
) -> None:
    program = sound.program()
    runtime = open_runtime(echo, store=sound.joined(program))
    run = start(runtime, lambda run: run.step("a", echo, 1))

    def wait() -> None:
        try:
            with program.atomic("IMMEDIATE"):
                run.wait(timeout=60)
        finally:
            program.close()

    with pytest.raises(WaitTimeout), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(wait)
        eventually(lambda: flowkit_clock.advance(1) or waiting.done())
        waiting.result()
    warnings = [one for one in log if one["log_level"] == "warning"]
    assert [(one["event"], one["run_id"]) for one in warnings] == [("waits_in_a_transaction", run.id)]
    assert "wait after its end" in warnings[0]["hint"]
