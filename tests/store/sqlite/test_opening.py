"""Opening a store: made once however many open it, brought up to date step by step, refused when it is too new."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import peewee
import pytest

from flowkit import (
    ConfigError,
    DataCorrupted,
    Runtime,
    SchemaTooNew,
    SQLiteStore,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from flowkit.clock import SystemClock
from flowkit.store.counters import Counters
from flowkit.store.database import Database, Session
from flowkit.store.migrate import migrate, stored_version
from flowkit.store.sqlite import SQLiteConnector
from flowkit.store.tables import Tables, make_tables
from flowkit.store.versions import VERSION

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "on demand" / "store.db"


def opened(path: Path) -> tuple[Database, Tables]:
    connector = SQLiteConnector(str(path), "disk")
    connector.prepare()
    return Database(connector, SystemClock()), make_tables(connector.dialect)


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT number FROM meta WHERE key = 'schema'").fetchone()[0])


def test_sixteen_processes_may_open_a_new_store_at_once(path: Path) -> None:
    code = "import sys; from flowkit import Runtime; Runtime(sys.argv[1], entry_points=False).close()"
    command = [sys.executable, "-c", code, f"sqlite:///{path}"]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(16)]
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * 16
    assert version_of(path) == VERSION


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the names of files are text")
def test_a_file_may_have_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.db")
    with Runtime(SQLiteStore(path), entry_points=False):
        assert path.exists()


def test_an_older_store_is_brought_up_to_date_step_by_step(path: Path) -> None:
    db, tables = opened(path)
    assert migrate(db, tables, version=1) == 0
    steps = {
        2: lambda tx: tx.script("CREATE TABLE second (a)"),
        3: lambda tx: tx.script("INSERT INTO second VALUES (1)"),
    }
    assert migrate(db, tables, steps=steps, version=3) == 1
    assert migrate(db, tables, steps=steps, version=3) == 3
    db.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT a FROM second").fetchall() == [(1,)]


def test_before_something_is_removed_a_copy_of_the_store_is_kept_beside_it(path: Path) -> None:
    db, tables = opened(path)
    migrate(db, tables, version=1)
    steps = {2: lambda tx: tx.script("CREATE TABLE second (a)"), 3: lambda tx: tx.script("DROP TABLE progress")}
    migrate(db, tables, steps=steps, version=3, destructive={3})
    assert db.copy == f"{path}.schema-2"
    db.close()
    with sqlite3.connect(db.copy) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'progress'").fetchall() != []
    connection.close()
    assert (version_of(Path(db.copy)), version_of(path)) == (2, 3)


def test_what_removes_nothing_needs_no_copy(path: Path) -> None:
    db, tables = opened(path)
    migrate(db, tables, version=1)
    migrate(db, tables, steps={2: lambda tx: tx.script("CREATE TABLE second (a)")}, version=2, destructive={3})
    assert db.copy is None
    db.close()
    assert not list(path.parent.glob("*.schema-*"))


def test_a_step_that_breaks_off_leaves_the_version_before_and_nothing_of_itself(path: Path) -> None:
    db, tables = opened(path)
    migrate(db, tables, version=1)

    def broken(tx: Session) -> None:
        tx.script("CREATE TABLE half (a)")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(db, tables, steps={2: broken}, version=2)
    with db.read() as tx:
        assert stored_version(tx) == 1
        assert tx.script("SELECT 1 FROM sqlite_master WHERE name = 'half'") == []
    db.close()


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_store_of_a_newer_flowkit_is_refused_and_left_untouched(path: Path, mode: str) -> None:
    Runtime(SQLiteStore(path), entry_points=False).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE meta SET number = 99 WHERE key = 'schema'")
        connection.execute(f"PRAGMA journal_mode = {mode}")
    before = path.read_bytes()
    assert SQLiteStore(path).version(SystemClock()) == 99
    with pytest.raises(SchemaTooNew, match="version 99.*knows up to"):
        Runtime(SQLiteStore(path), entry_points=False)
    assert (list(path.parent.iterdir()), path.read_bytes()) == ([path], before)


def test_a_copy_of_a_store_is_opened_like_the_store(path: Path, tmp_path: Path) -> None:
    """``VACUUM INTO`` and a backup make files that are not in WAL mode."""
    Runtime(SQLiteStore(path), entry_points=False).close()
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    Runtime(SQLiteStore(copy), entry_points=False).close()
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_is_no_database_is_reported_as_damaged(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is a letter, not a database" * 100)
    with pytest.raises(DataCorrupted, match="restore it from a backup"):
        Runtime(SQLiteStore(path), entry_points=False)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="file"):
        Runtime(SQLiteStore(tmp_path / "file" / "store.db"), entry_points=False)


def test_a_full_store_says_so_and_work_goes_on_when_there_is_room_again(path: Path) -> None:
    db, tables = opened(path)
    migrate(db, tables)
    with pytest.raises(StoreFull, match="no space is left"), db.write() as tx:
        pages = tx.script("PRAGMA page_count")[0][0]
        tx.script(f"PRAGMA max_page_count = {pages}")
        tx.script("INSERT INTO meta VALUES ('large', zeroblob(10000000))")
    with db.write() as tx:
        tx.script("PRAGMA max_page_count = 1000000")
        tx.script("INSERT INTO meta VALUES ('small', 1)")
    with db.read() as tx:
        assert tx.script("SELECT key FROM meta WHERE key IN ('large', 'small')") == [("small",)]
    db.close()


@pytest.mark.parametrize("store", ["", "   ", "sqlite:///", "sqlite:"])
def test_a_store_without_a_path_is_refused(store: str) -> None:
    with pytest.raises(ConfigError):
        Runtime(store, entry_points=False)


def test_a_blank_path_and_no_store_at_all_are_refused_in_so_many_words() -> None:
    with pytest.raises(ConfigError, match="^sqlite workflow store path is required$"):
        SQLiteStore(" ")
    with pytest.raises(ConfigError, match="^workflow runtime store is required$"):
        Runtime(None)


def test_a_url_names_a_relative_an_absolute_or_a_memory_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Runtime("sqlite:///relative/a%20b.db", entry_points=False).close()
    assert (tmp_path / "relative" / "a b.db").exists()
    Runtime(f"sqlite:///{tmp_path}/absolute.db", entry_points=False).close()
    assert (tmp_path / "absolute.db").exists()
    Runtime("sqlite://", entry_points=False).close()
    assert sorted(entry.name for entry in tmp_path.iterdir() if "absolute" not in entry.name) == ["relative"]


def test_a_store_object_serves_one_runtime(path: Path) -> None:
    store = SQLiteStore(path)
    with Runtime(store, entry_points=False), pytest.raises(ConfigError, match="one Runtime"):
        Runtime(store, entry_points=False)


def test_keys_are_never_handed_out_again_whatever_is_pruned(path: Path) -> None:
    """A reader who remembers the newest key it saw would otherwise miss what came after a pruning."""
    db, tables = opened(path)
    migrate(db, tables)
    counters = Counters(db, tables)
    with db.write() as tx:
        wanted = (("run", 3), ("run", 1), ("record", 2))
        taken = [counters.take(tx, counters.asking(name, count)) for name, count in wanted]
        assert [list(one) for one in taken] == [[1, 2, 3], [4], [1, 2]]
    db.close()


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("table", ["records (title)", "meta (name, value)", "meta (key, number)"], ids=str)
def test_a_database_whose_tables_have_the_names_of_flowkits_is_refused_and_left_untouched(
    path: Path, table: str, mode: str
) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute(f"CREATE TABLE {table}")
    before = path.read_bytes()
    name = table.split()[0]
    for store in (SQLiteStore(path), SQLiteStore(database=peewee.SqliteDatabase(str(path)))):
        with pytest.raises(StoreError, match=f"has a table {name} that flowkit did not make.*a file of its own"):
            Runtime(store, entry_points=False)
    assert (list(path.parent.iterdir()), path.read_bytes()) == ([path], before)
