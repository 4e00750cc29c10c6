"""An operator's look at a live store: damage is named, counts are mended, and workers go on meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flowkit import FileArtifactStore, Runtime, StepContext, executor
from flowkit.runtime.upkeep import check_store
from tests.stories.telling import echo, start


@executor("hand-over")
def hand_over(step: StepContext) -> str:
    step.store_artifact("big", b"bytes")
    return "whole"


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    artifacts = FileArtifactStore(tmp_path / "artifacts")
    with Runtime(f"sqlite:///{tmp_path / 'kept.db'}", entry_points=False, artifact_store=artifacts) as opened:
        start(opened, lambda run: run.step("b", echo, 1, after=run.step("a", hand_over)), echo, hand_over)
        yield opened


def by_hand(tmp_path: Path, sql: str) -> None:
    with closing(sqlite3.connect(tmp_path / "kept.db")) as connection, connection:
        assert connection.execute(sql).rowcount > 0


def test_a_sound_store_is_sound_before_during_and_after_its_work(runtime: Runtime) -> None:
    assert check_store(runtime).is_sound
    with runtime.workers():
        assert check_store(runtime, mend=True).is_sound
    runtime.drain()
    assert check_store(runtime).is_sound


def test_a_flipped_byte_of_a_payload_is_found(runtime: Runtime, tmp_path: Path) -> None:
    runtime.drain()
    by_hand(tmp_path, """UPDATE results SET body = CAST('"whale"' AS BLOB) WHERE body = CAST('"whole"' AS BLOB)""")

    report = check_store(runtime)

    assert [(finding.invariant, finding.count) for finding in report.findings] == [("I22", 1)]
    assert not report.is_sound


def test_a_flipped_byte_of_an_artifact_file_is_found(runtime: Runtime, tmp_path: Path) -> None:
    runtime.drain()
    (file,) = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file() and path.stat().st_size == 5]
    file.write_bytes(b"Bytes")

    assert [finding.invariant for finding in check_store(runtime).findings] == ["I20"]


def test_from_then_on_the_database_itself_refuses_an_illegal_move(runtime: Runtime, tmp_path: Path) -> None:
    check_store(runtime)

    with pytest.raises(sqlite3.IntegrityError, match="no move leads"):
        by_hand(tmp_path, "UPDATE steps SET status = 'failed', ended_at = 1 WHERE id = 'b'")


def test_counts_are_mended_only_when_that_is_asked_for_and_the_store_remembers_it(
    runtime: Runtime, tmp_path: Path
) -> None:
    by_hand(tmp_path, "UPDATE runs SET failed_steps = 7")
    assert [finding.invariant for finding in check_store(runtime).findings] == ["I13"]

    report = check_store(runtime, mend=True)

    assert [(one.what, one.count) for one in report.mended] == [("runs counted again", 1)]
    assert (report.is_sound, report.mended_before) == (True, 1)
    assert (check_store(runtime).is_sound, check_store(runtime).mended_before) == (True, 1)


def test_a_damaged_file_is_reported_and_not_written_to(runtime: Runtime, tmp_path: Path) -> None:
    runtime.drain()
    runtime.close()
    path = tmp_path / "kept.db"
    with sqlite3.connect(path) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    with Runtime(f"sqlite:///{path}", entry_points=False) as damaged:
        report = check_store(damaged, mend=True)

    assert (bool(report.damage), report.is_sound, report.findings) == (True, False, ())
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall() == []
    connection.close()
