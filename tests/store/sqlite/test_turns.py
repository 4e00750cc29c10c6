"""Processes that write to one file take turns: who waits begins once nobody writes, and is refused after a while."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from flowkit.store import sqlite_turns
from flowkit.store.sqlite_turns import AT_ONCE, BUSY_SECONDS, SHARED_SECONDS, Turns
from tests.store.clock import FakeClock

BEGIN = "BEGIN IMMEDIATE"
Connect = Callable[[], sqlite3.Connection]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database file in WAL mode."""
    with sqlite3.connect(tmp_path / "some.db") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE facts (fact TEXT)")
    connection.close()
    return tmp_path / "some.db"


@pytest.fixture
def connected(file: Path) -> Iterator[Connect]:
    """Gives connections to the file."""
    with ExitStack() as opened:

        def connect() -> sqlite3.Connection:
            patience = sqlite_turns.BUSY_SECONDS
            raw = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=patience)
            return opened.enter_context(closing(raw))

        yield connect


@pytest.fixture(params=["own", "shared"])
def turns(request: pytest.FixtureRequest) -> Turns:
    """The turns of a process that has not met another one in the file yet, or has just now."""
    clock = FakeClock()
    made = Turns(clock)
    if request.param == "shared":
        made.begin(Slow(clock), BEGIN)
    return made


class Slow:
    """A connection on which everything takes a moment, as it does while another process writes."""

    def __init__(self, clock: FakeClock, seconds: float = 0.01) -> None:
        self._clock = clock
        self._seconds = seconds

    def execute(self, sql: str) -> None:
        self._clock.advance(self._seconds)


def test_who_waits_begins_once_the_other_one_has_committed_and_sees_what_it_wrote(
    connected: Connect, turns: Turns
) -> None:
    writing, waiting = connected(), connected()
    writing.execute(BEGIN)
    seen: list[tuple[str]] = []

    def wait() -> None:
        turns.begin(waiting, BEGIN)
        seen.extend(waiting.execute("SELECT fact FROM facts"))

    thread = threading.Thread(target=wait)
    thread.start()
    writing.execute("INSERT INTO facts VALUES ('written first')")
    assert not seen
    writing.execute("COMMIT")
    thread.join(BUSY_SECONDS)
    assert seen == [("written first",)]


def test_who_has_waited_long_enough_is_refused_and_may_try_again(
    connected: Connect, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_turns, "BUSY_SECONDS", 0.05)
    writing, waiting = connected(), connected()
    writing.execute(BEGIN)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        turns.begin(waiting, BEGIN)
    writing.execute("ROLLBACK")
    turns.begin(waiting, BEGIN)


def test_what_is_no_matter_of_turns_is_raised_at_once(connected: Connect, turns: Turns) -> None:
    connection = connected()
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        turns.begin(connection, "BEGIN SOMEHOW")


def test_reads_are_as_patient_as_before(connected: Connect, turns: Turns) -> None:
    # They wait while another process recovers the file after a crash.
    connection = connected()
    for begin in (BEGIN, "BEGIN SOMEHOW"):
        try:
            turns.begin(connection, begin)
            connection.execute("COMMIT")
        except sqlite3.OperationalError:
            pass
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (BUSY_SECONDS * 1000,)


def test_who_has_waited_once_asks_often_for_a_while(connected: Connect) -> None:
    clock, connection = FakeClock(), connected()
    turns = Turns(clock)
    said: list[str] = []
    connection.set_trace_callback(said.append)

    def begins_by() -> list[str]:
        said.clear()
        turns.begin(connection, BEGIN)
        connection.execute("COMMIT")
        return said[:-1]

    # SQLite's own waiting sleeps for a millisecond at least: what takes less is a busy machine.
    turns.begin(Slow(clock, 0.0009), BEGIN)
    assert begins_by() == [BEGIN]
    turns.begin(Slow(clock), BEGIN)
    assert begins_by() == ["PRAGMA busy_timeout = 0", BEGIN, "PRAGMA busy_timeout = 30000"]
    clock.advance(SHARED_SECONDS)
    assert begins_by() == [BEGIN]


def test_who_has_waited_once_asks_no_more_after_many_turns_that_were_had_at_once(connected: Connect) -> None:
    clock, connection = FakeClock(), connected()
    turns = Turns(clock)
    asked: list[str] = []
    connection.set_trace_callback(lambda said: asked.append(said) if "busy_timeout = 0" in said else None)

    for _ in range(2):
        asked.clear()
        turns.begin(Slow(clock), BEGIN)
        for _ in range(3 * AT_ONCE):
            turns.begin(connection, BEGIN)
            connection.execute("COMMIT")
        assert len(asked) == AT_ONCE
