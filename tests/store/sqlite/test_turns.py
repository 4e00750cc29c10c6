"""Processes that write to one file take turns: who waits begins once nobody writes, and is refused after a while."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from flowkit.store import sqlite_turns
from flowkit.store.sqlite_turns import BUSY_SECONDS, begin_in_turn

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
            raw = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
            return opened.enter_context(closing(raw))

        yield connect


def test_who_waits_begins_once_the_other_one_has_committed_and_sees_what_it_wrote(connected: Connect) -> None:
    writing, waiting = connected(), connected()
    writing.execute(BEGIN)
    seen: list[tuple[str]] = []

    def wait() -> None:
        begin_in_turn(waiting, BEGIN)
        seen.extend(waiting.execute("SELECT fact FROM facts"))

    thread = threading.Thread(target=wait)
    thread.start()
    writing.execute("INSERT INTO facts VALUES ('written first')")
    assert not seen
    writing.execute("COMMIT")
    thread.join(BUSY_SECONDS)
    assert seen == [("written first",)]


def test_who_has_waited_long_enough_is_refused_and_may_try_again(
    connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_turns, "BUSY_SECONDS", 0.05)
    writing, waiting = connected(), connected()
    writing.execute(BEGIN)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        begin_in_turn(waiting, BEGIN)
    writing.execute("ROLLBACK")
    begin_in_turn(waiting, BEGIN)


def test_what_is_no_matter_of_turns_is_raised_at_once(connected: Connect) -> None:
    connection = connected()
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        begin_in_turn(connection, "BEGIN SOMEHOW")


def test_reads_are_as_patient_as_before(connected: Connect) -> None:
    # They wait while another process recovers the file after a crash.
    connection = connected()
    for begin in (BEGIN, "BEGIN SOMEHOW"):
        try:
            begin_in_turn(connection, begin)
            connection.execute("COMMIT")
        except sqlite3.OperationalError:
            pass
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (BUSY_SECONDS * 1000,)
