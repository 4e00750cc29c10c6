"""Projections: a database per name, one writer at a time, all or nothing where a step says so."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import sqlite3
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowkit.errors import (
    ConfigError,
    DataCorrupted,
    InvalidInput,
    InvalidTransition,
    RuntimeClosed,
    StoreBusy,
    StoreUnavailable,
)
from flowkit.model.names import name_problem
from flowkit.projection_files import file_name
from flowkit.projections import SQLiteProjection, SQLiteProjectionStore, open_projection_store

INSERT = "INSERT INTO pages VALUES (?, ?)"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteProjectionStore]:
    made = SQLiteProjectionStore(tmp_path / "var" / "projections")
    yield made
    made.close()


@pytest.fixture
def impatient(store: SQLiteProjectionStore) -> Iterator[SQLiteProjectionStore]:
    """A second store on the same folder, as another process would have, that gives up soon."""
    made = SQLiteProjectionStore(store.root, busy_timeout=0.05)
    yield made
    made.close()


@pytest.fixture
def pages(store: SQLiteProjectionStore) -> SQLiteProjection:
    projection = store.open("pages")
    projection.execute("CREATE TABLE pages (number INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    return projection


def numbers(projection: SQLiteProjection) -> list[int]:
    return [row["number"] for row in projection.query("SELECT number FROM pages ORDER BY number")]


def test_what_is_written_is_read_by_column_name(pages: SQLiteProjection) -> None:
    assert pages.execute(INSERT, (1, "one")) == 1
    assert pages.execute("INSERT INTO pages VALUES (:number, :text)", {"number": 2, "text": "two"}) == 1

    assert pages.query("SELECT number, upper(text) AS loud FROM pages WHERE number > ?", (1,)) == [
        {"number": 2, "loud": "TWO"}
    ]
    assert pages.query("SELECT * FROM pages WHERE number = :n", {"n": 9}) == []


def test_execute_tells_how_many_rows_it_changed(pages: SQLiteProjection) -> None:
    assert pages.execute("INSERT INTO pages VALUES (1, 'a'), (2, 'b') RETURNING number") == 2
    assert pages.execute("UPDATE pages SET text = 'c'") == 2
    assert pages.execute("DELETE FROM pages WHERE number = 9") == 0
    assert pages.execute("CREATE INDEX texts ON pages (text)") == 0
    assert pages.execute("SELECT * FROM pages") == 0


def test_execute_commits_by_itself(pages: SQLiteProjection, impatient: SQLiteProjectionStore) -> None:
    pages.execute(INSERT, (1, "one"))

    assert numbers(impatient.open("pages")) == [1]


def test_a_query_that_writes_commits_too(pages: SQLiteProjection, impatient: SQLiteProjectionStore) -> None:
    assert pages.query(INSERT + " RETURNING text", (1, "one")) == [{"text": "one"}]

    assert numbers(impatient.open("pages")) == [1]


def test_executemany_writes_all_rows_or_none(pages: SQLiteProjection) -> None:
    assert pages.executemany(INSERT, ((n, "x") for n in range(3))) == 3
    with pytest.raises(sqlite3.IntegrityError):
        pages.executemany(INSERT, [(7, "x"), (0, "twice")])

    assert numbers(pages) == [0, 1, 2]


def test_rows_that_cannot_be_made_leave_nothing(pages: SQLiteProjection) -> None:
    def rows() -> Iterator[tuple[int, str]]:
        yield 1, "x"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pages.executemany(INSERT, rows())
    assert numbers(pages) == []


def test_a_transaction_is_seen_by_others_when_it_ends(
    pages: SQLiteProjection, impatient: SQLiteProjectionStore
) -> None:
    with pages.transaction():
        pages.execute(INSERT, (1, "one"))
        pages.executemany(INSERT, [(2, "two"), (3, "three")])
        assert numbers(pages) == [1, 2, 3]
        assert numbers(impatient.open("pages")) == []

    assert numbers(impatient.open("pages")) == [1, 2, 3]


def test_an_error_undoes_the_whole_transaction(pages: SQLiteProjection) -> None:
    with pytest.raises(ZeroDivisionError), pages.transaction():
        pages.execute(INSERT, (1, "one"))
        raise ZeroDivisionError

    assert numbers(pages) == []
    pages.execute(INSERT, (1, "again"))


def test_a_refused_statement_may_be_handled_inside_the_transaction(pages: SQLiteProjection) -> None:
    with pages.transaction():
        pages.execute(INSERT, (1, "one"))
        with pytest.raises(sqlite3.IntegrityError):
            pages.execute(INSERT, (1, "twice"))
        pages.execute(INSERT, (2, "two"))

    assert numbers(pages) == [1, 2]


def test_a_transaction_inside_another_is_refused(pages: SQLiteProjection) -> None:
    with pages.transaction():
        pages.execute(INSERT, (1, "one"))
        with pytest.raises(InvalidTransition, match="open here already"), pages.transaction():
            pass

    assert numbers(pages) == [1]


@pytest.mark.parametrize("statement", ["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT mine"])
def test_a_transaction_begun_by_hand_is_refused_and_undone(pages: SQLiteProjection, statement: str) -> None:
    with pytest.raises(InvalidTransition, match="use that|transaction\\(\\)"):
        pages.execute(statement)

    pages.execute(INSERT, (1, "one"))
    assert numbers(pages) == [1]


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
def test_a_transaction_ended_by_hand_is_refused(pages: SQLiteProjection, statement: str) -> None:
    with pytest.raises(InvalidTransition, match="transaction\\(\\)"), pages.transaction():
        pages.execute(statement)

    pages.execute(INSERT, (1, "one"))
    assert numbers(pages) == [1]


def test_a_transaction_that_sqlite_rolled_back_takes_no_more_statements(pages: SQLiteProjection) -> None:
    pages.execute(INSERT, (1, "one"))
    with pytest.raises(InvalidTransition, match="rolled it back"), pages.transaction():
        pages.execute(INSERT, (2, "two"))
        with pytest.raises(sqlite3.IntegrityError):
            pages.execute("INSERT OR ROLLBACK INTO pages VALUES (1, 'twice')")
        pages.execute(INSERT, (3, "three"))

    assert numbers(pages) == [1]


def test_a_transaction_that_sqlite_rolled_back_is_not_taken_for_committed(pages: SQLiteProjection) -> None:
    pages.execute(INSERT, (1, "one"))
    with pytest.raises(InvalidTransition, match="rolled it back"), pages.transaction():
        pages.execute(INSERT, (2, "two"))
        with pytest.raises(sqlite3.IntegrityError):
            pages.execute("INSERT OR ROLLBACK INTO pages VALUES (1, 'twice')")


def test_wrong_sql_is_told_by_sqlite_itself(pages: SQLiteProjection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table: nowhere"):
        pages.query("SELECT * FROM nowhere")
    with pytest.raises(sqlite3.OperationalError, match="malformed JSON"):
        pages.query("SELECT json_extract('{', '$.a')")
    with pytest.raises(sqlite3.ProgrammingError):
        pages.execute(INSERT, (1,))


def test_foreign_keys_are_enforced(pages: SQLiteProjection) -> None:
    pages.execute("CREATE TABLE words (page INTEGER REFERENCES pages (number))")

    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        pages.execute("INSERT INTO words VALUES (404)")


def test_many_threads_write_through_one_projection(pages: SQLiteProjection) -> None:
    pages.execute(INSERT, (0, "0"))

    def add_one(_: int) -> None:
        with pages.transaction():
            (row,) = pages.query("SELECT text FROM pages WHERE number = 0")
            pages.execute("UPDATE pages SET text = ? WHERE number = 0", (str(int(row["text"]) + 1),))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, range(100)))

    assert pages.query("SELECT text FROM pages") == [{"text": "100"}]


def test_the_statements_of_another_thread_take_no_part_in_a_transaction(pages: SQLiteProjection) -> None:
    with ThreadPoolExecutor(1) as other:
        with pytest.raises(ZeroDivisionError), pages.transaction():
            pages.execute(INSERT, (1, "mine"))
            waiting = other.submit(pages.execute, INSERT, (2, "theirs"))
            assert not waiting.done()
            raise ZeroDivisionError
        waiting.result(60)

    assert numbers(pages) == [2]


def test_readers_do_not_wait_for_the_writer(pages: SQLiteProjection) -> None:
    pages.execute(INSERT, (1, "one"))
    with ThreadPoolExecutor(1) as other, pages.transaction():
        pages.execute(INSERT, (2, "two"))
        assert other.submit(numbers, pages).result(60) == [1]


def test_another_writer_in_the_process_is_told_when_it_waited_too_long(
    pages: SQLiteProjection, impatient: SQLiteProjectionStore
) -> None:
    projection = impatient.open("pages")
    with ThreadPoolExecutor(1) as other, projection.transaction():
        waiting = other.submit(projection.execute, INSERT, (1, "one"))
        with pytest.raises(StoreBusy, match="another thread"):
            waiting.result(60)


def test_another_process_is_told_when_it_waited_too_long(
    pages: SQLiteProjection, impatient: SQLiteProjectionStore
) -> None:
    with pages.transaction(), pytest.raises(StoreBusy, match="is locked"):
        impatient.open("pages").execute(INSERT, (1, "one"))


def test_tasks_of_one_event_loop_do_not_share_a_transaction(pages: SQLiteProjection) -> None:
    async def wait_inside(begun: asyncio.Event, go_on: asyncio.Event) -> None:
        with pages.transaction():
            pages.execute(INSERT, (1, "one"))
            begun.set()
            await go_on.wait()

    async def both() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(wait_inside(begun, go_on))
        await begun.wait()
        assert numbers(pages) == []
        with pytest.raises(StoreBusy, match="event loop"):
            pages.execute(INSERT, (2, "two"))
        go_on.set()
        await first

    asyncio.run(both())
    assert numbers(pages) == [1]


def test_processes_that_open_a_new_projection_at_once_all_write_to_it(store: SQLiteProjectionStore) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    writers = [context.Process(target=write_rows, args=(store.url, n, start)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    assert numbers(store.open("pages")) == list(range(100))


def write_rows(url: str, writer: int, start: threading.Barrier) -> None:
    store = open_projection_store(url)
    projection = store.open("pages")
    start.wait(60)
    projection.execute("CREATE TABLE IF NOT EXISTS pages (number INTEGER PRIMARY KEY, text TEXT)")
    for n in range(25):
        projection.execute(INSERT, (writer * 25 + n, ""))
    store.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="open files cannot be counted on this platform")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(pages: SQLiteProjection) -> None:
    with pages.transaction():
        pages.execute(INSERT, (1, "parent"))
        child = multiprocessing.get_context("fork").Process(target=expect_nothing_written, args=(pages,))
        child.start()
        child.join(60)
    assert child.exitcode == 0

    child = multiprocessing.get_context("fork").Process(target=write_on_a_connection_of_its_own, args=(pages,))
    child.start()
    child.join(60)

    assert child.exitcode == 0
    pages.execute(INSERT, (3, "parent"))
    assert numbers(pages) == [1, 2, 3]


def write_on_a_connection_of_its_own(projection: SQLiteProjection) -> None:
    inherited = files_open_on(projection.path)
    projection.execute(INSERT, (2, "child"))
    assert files_open_on(projection.path) > inherited


def files_open_on(path: Path) -> int:
    descriptors = Path("/proc/self/fd")
    links = [os.readlink(link) for link in descriptors.iterdir() if link.exists()]
    return links.count(str(path))


def expect_nothing_written(projection: SQLiteProjection) -> None:
    assert numbers(projection) == []
    projection.close()


def test_one_name_is_one_object_and_two_names_are_two_databases(store: SQLiteProjectionStore) -> None:
    assert store.open("a") is store.open("a")

    store.open("a").execute("CREATE TABLE only_here (x)")

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store.open("A").query("SELECT * FROM only_here")


HOSTILE = [
    "..",
    ".",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "C:",
    "con.db",
    "~",
    "a b",
    "%2e",
    "ä",
    "a.db-wal",
]


@pytest.mark.parametrize("name", [*HOSTILE, "x" * 200, "Ä" * 200])
def test_a_hostile_name_stays_in_the_folder(store: SQLiteProjectionStore, name: str) -> None:
    store.open(name).execute("CREATE TABLE t (x)")

    (made,) = store.root.glob("*.db")
    assert made.name == file_name(name)
    assert len(made.name) < 240
    assert [path.name for path in store.root.parent.iterdir()] == [store.root.name]


NAMES = st.text("aAbſß%.~-/é\u0301 ", min_size=1, max_size=6).filter(lambda name: name_problem(name) is None)


@settings(deadline=None)
@given(first=NAMES, second=NAMES)
def test_no_two_names_share_a_file_even_where_case_is_not_told_apart(first: str, second: str) -> None:
    assert (file_name(first).casefold() == file_name(second).casefold()) is (first == second)


@pytest.mark.parametrize(
    ("first", "second"),
    [("a", "A"), ("é", "e\u0301"), (".", "%2e"), ("a.db", "a"), ("X" * 200, "X" * 199 + "x"), ("ſ", "s"), ("İ", "i")],
)
def test_names_that_look_alike_have_files_of_their_own(first: str, second: str) -> None:
    assert file_name(first) != file_name(second)
    assert file_name(first).isascii()
    assert file_name(first) == file_name(first).lower()


@pytest.mark.parametrize("name", ["", " ", " a", "a\n", "a\0b", "\ud800", "x" * 201, None, 5])
def test_what_is_no_name_is_refused(store: SQLiteProjectionStore, name: str) -> None:
    with pytest.raises(InvalidInput, match="projection name"):
        store.open(name)


def test_a_planted_link_is_not_followed(store: SQLiteProjectionStore, tmp_path: Path) -> None:
    store.root.mkdir(parents=True)
    (store.root / "pages.db").symlink_to(tmp_path / "elsewhere.db")

    with pytest.raises(StoreUnavailable, match="symbolic link"):
        store.open("pages").execute("CREATE TABLE t (x)")
    assert not (tmp_path / "elsewhere.db").exists()


def test_a_file_that_is_no_database_is_told_as_corrupted(store: SQLiteProjectionStore) -> None:
    store.root.mkdir(parents=True)
    (store.root / "pages.db").write_text("a letter, not a database " * 100)

    with pytest.raises(DataCorrupted, match="not a database"):
        store.open("pages").query("SELECT 1")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("in the way")

    with pytest.raises(StoreUnavailable, match="root"):
        SQLiteProjectionStore(tmp_path / "root").open("pages").query("SELECT 1")


def test_nothing_is_made_before_the_first_use(tmp_path: Path) -> None:
    SQLiteProjectionStore(tmp_path / "later").open("pages")

    assert list(tmp_path.iterdir()) == []


def test_another_process_opens_the_store_by_its_url(pages: SQLiteProjection, store: SQLiteProjectionStore) -> None:
    pages.execute(INSERT, (1, "one"))

    again = open_projection_store(store.url)
    assert numbers(again.open("pages")) == [1]
    again.close()


def test_after_close_nothing_can_be_used_and_nothing_is_left_open(
    pages: SQLiteProjection, store: SQLiteProjectionStore
) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: pages.execute(INSERT, (n, "")), range(20)))
    store.close()
    store.close()

    with pytest.raises(RuntimeClosed):
        pages.query("SELECT 1")
    with pytest.raises(RuntimeClosed):
        store.open("pages")
    with pytest.raises(RuntimeClosed):
        store.open("new")
    # SQLite removes the log when the last connection is closed.
    assert [path.name for path in store.root.iterdir()] == ["pages.db"]


def test_a_transaction_open_while_the_store_closes_still_ends_well(
    pages: SQLiteProjection, store: SQLiteProjectionStore
) -> None:
    with pages.transaction():
        pages.execute(INSERT, (1, "one"))
        store.close()
        pages.execute(INSERT, (2, "two"))

    assert [path.name for path in store.root.iterdir()] == ["pages.db"]
    again = SQLiteProjectionStore(store.root)
    assert numbers(again.open("pages")) == [1, 2]
    again.close()


def test_a_closed_store_leaves_no_warning_about_open_databases(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = SQLiteProjectionStore(tmp_path)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda n, store=store: store.open(f"p{n % 3}").query("SELECT 1"), range(30)))
        store.close()
        del store
        gc.collect()

    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == []


@pytest.mark.parametrize("seconds", [0, -1, 4000, float("nan")])
def test_a_timeout_out_of_range_is_refused(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(ConfigError, match="busy_timeout"):
        SQLiteProjectionStore(tmp_path, busy_timeout=seconds)


def test_a_blank_root_is_refused() -> None:
    with pytest.raises(ConfigError, match="SQLiteProjectionStore: root"):
        SQLiteProjectionStore("")
