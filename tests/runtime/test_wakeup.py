"""Who waits is woken by what other processes commit, also where the commit comes later than the file's change."""

from __future__ import annotations

from pathlib import Path

from flowkit.runtime.wakeup import Wakeups
from flowkit.store.watching import FileWatcher


def test_a_change_of_the_log_is_told_again_and_again_for_its_commit_may_be_slow(tmp_path: Path) -> None:
    log = tmp_path / "flowkit.db-wal"
    log.write_bytes(b"frames")
    wakeups = Wakeups(FileWatcher(log))
    with wakeups.run("run") as signal:
        log.write_bytes(b"frames of a commit that is not there to be read yet")
        for _ in range(5):
            assert signal.wait(30)
            signal.clear()
    wakeups.close()


def test_a_commit_that_was_under_way_before_anybody_waited_is_told_too(tmp_path: Path) -> None:
    log = tmp_path / "flowkit.db-wal"
    log.write_bytes(b"frames of a commit that is not there to be read yet")
    wakeups = Wakeups(FileWatcher(log))
    with wakeups.run("run") as signal:
        for _ in range(3):
            assert signal.wait(30)
            signal.clear()
    wakeups.close()
