"""Files without rights, on a network, taken away or replaced while they are open: that is told, nothing is written."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowkit import Runtime, SQLiteStore, StoreError, StoreUnavailable
from flowkit.runtime.doctor import diagnose
from flowkit.store import sqlite
from tests.environment.conftest import Open, as_nobody
from tests.environment.flows import filling


@pytest.fixture
def store() -> Iterator[Path]:
    """A store with a run in it, closed, in a directory that everybody may look into, unlike those that pytest makes."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        made = Runtime(SQLiteStore(directory / "store.db"), modules=["tests.environment.flows"], entry_points=False)
        with made:
            made.run(filling, 2, run_id="one")
        directory.chmod(0o755)
        yield directory / "store.db"
        directory.chmod(0o755)


def opening(path: Path) -> Callable[[], str]:
    """Return what opens a store and says how that went."""

    def call() -> str:
        Runtime(SQLiteStore(path), entry_points=False).close()
        return "opened"

    return call


def test_a_file_that_cannot_be_written_is_refused_and_named(store: Path) -> None:
    store.chmod(0o444)
    store.parent.chmod(0o555)
    told = as_nobody(opening(store))
    assert told.startswith("StoreUnavailable: the sqlite store ")
    assert "are the file and its directory writable?" in told


def test_a_directory_that_cannot_be_written_is_refused_and_named(store: Path) -> None:
    store.parent.chmod(0o555)
    for path in (store.parent / "new.db", store.parent / "made" / "new.db"):
        told = as_nobody(opening(path))
        assert told.startswith("StoreUnavailable: ")
        assert str(store.parent) in told
    assert sorted(one.name for one in store.parent.iterdir()) == ["store.db"]


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Which file system a directory is on is what Linux says of its mounts."""
    mounts = tmp_path / "mountinfo"
    share = tmp_path / "my share"
    written = str(share).replace(" ", "\\040")
    lines = ["1 0 0:1 / / rw - ext4 /dev/a rw", f"2 1 0:2 / {written} rw,noatime shared:1 - {kind} server:/x rw"]
    mounts.write_text("\n".join(lines))
    monkeypatch.setattr(sqlite, "MOUNTS", mounts)
    with pytest.raises(StoreUnavailable, match=rf"network file system \({kind}\).*postgresql:// store"):
        SQLiteStore(share / "store.db").open(None)  # type: ignore[arg-type]
    assert list(share.iterdir()) == []
    Runtime(SQLiteStore(tmp_path / "my other" / "store.db"), entry_points=False).close()


def take_away(path: Path) -> None:
    for file in path.parent.glob("store.db*"):
        file.unlink()


def replace(path: Path) -> None:
    other = path.parent / "other.db"
    Runtime(SQLiteStore(other), entry_points=False).close()
    os.replace(other, path)


@pytest.mark.parametrize("happens", [take_away, replace])
def test_a_store_that_is_taken_away_or_replaced_is_written_no_more(
    tmp_path: Path, opened: Open, happens: Callable[[Path], None]
) -> None:
    """What goes to the file that was there is lost; what goes to another one would mix two stores."""
    path = tmp_path / "store.db"
    runtime = opened(path)
    with runtime.workers():
        assert runtime.start_run(filling, 2, run_id="one").wait(60).status == "succeeded"
        happens(path)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="removed, or replaced by another file"):
                runtime.start_run(filling, 2)
        told: list[str] = []
        threads = [threading.Thread(target=lambda: told.append(refusal(runtime))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(told) == 8
        assert all("removed, or replaced by another file" in text for text in told)
    assert path.exists() == (happens is replace)


def refusal(runtime: Runtime) -> str:
    try:
        return str(runtime.workflow("one"))
    except StoreError as error:
        return str(error)


def test_a_later_change_of_directory_leads_to_no_other_file(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runtime = opened(Path("store.db"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    threads = [threading.Thread(target=lambda: runtime.run(filling, 2)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runtime.runs()) == 4
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_log_that_a_reader_held_up_shrinks_once_the_reader_has_ended(tmp_path: Path, opened: Open) -> None:
    """The doctor names the reader as long as it is there."""
    path = tmp_path / "store.db"
    log = tmp_path / "store.db-wal"
    runtime = opened(path, max_workers=64)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT COUNT(*) FROM runs").fetchall()
    while log.stat().st_size <= 66 << 20:
        runtime.run(filling, 400)
    told = [one.what for one in diagnose(runtime._parts.engine, {}).complaints]
    assert any("write-ahead log has" in what and "while a reader keeps a transaction open" in what for what in told)
    reader.close()
    for _ in range(3):
        runtime.run(filling, 400)
    assert log.stat().st_size <= 32 << 20
    assert not any("write-ahead log" in one.what for one in diagnose(runtime._parts.engine, {}).complaints)
