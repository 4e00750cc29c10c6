"""A file with damaged pages is refused or left alone: nothing is written over what is still whole in it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from flowkit import DataCorrupted, Runtime
from flowkit.store import sqlite
from tests.stories.telling import echo, start

DIES = """
import os, sys
from flowkit import Runtime, RunBuilder
from tests.stories.telling import echo, start
runtime = Runtime(sys.argv[1], entry_points=False)
start(runtime, lambda run: run.step("a", echo, 1), echo)
os._exit(9)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a store that was closed as it should be."""
    path = tmp_path / "damaged.db"
    Runtime(f"sqlite:///{path}", entry_points=False).close()
    return path


def crash(path: Path) -> None:
    """Write to the store and die without closing it."""
    assert subprocess.run([sys.executable, "-c", DIES, f"sqlite:///{path}"], timeout=60).returncode == 9
    assert Path(f"{path}-wal").stat().st_size > 0


def damage(path: Path, table: str) -> None:
    """Wipe the first page of a table, as a bad sector would."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))


def test_a_damaged_file_is_refused_after_a_crash_and_the_error_says_how_to_restore_it(path: Path) -> None:
    crash(path)
    damage(path, "progress")

    with pytest.raises(DataCorrupted, match=r"nothing was written") as told:
        Runtime(f"sqlite:///{path}", entry_points=False)

    assert "backup" in str(told.value)


def test_a_sound_file_is_opened_after_a_crash(path: Path) -> None:
    crash(path)

    with Runtime(f"sqlite:///{path}", entry_points=False) as runtime:
        assert len(runtime.runs()) == 1


def test_a_large_file_is_opened_without_looking_through_all_of_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash(path)
    damage(path, "progress")
    monkeypatch.setattr(sqlite, "LOOKED_THROUGH_BYTES", 4096)

    with Runtime(f"sqlite:///{path}", entry_points=False) as runtime:
        assert len(runtime.runs()) == 1


def test_once_damage_was_met_nothing_more_is_written(path: Path) -> None:
    damage(path, "sqlite_autoindex_workers_1")
    with Runtime(f"sqlite:///{path}", entry_points=False) as runtime:
        run = start(runtime, lambda run: run.step("a", echo, 1), echo)
        with pytest.raises(DataCorrupted, match="damaged"):
            runtime.stats()

        with pytest.raises(DataCorrupted, match="nothing more is written"):
            runtime.start_run("story")

        assert runtime.step(run.id, "a").status == "ready", "what is whole can be read"
