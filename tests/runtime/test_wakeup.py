"""Who waits is woken by what other processes commit, also where the commit comes later than the file's change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flowkit.model.events import Event
from flowkit.model.states import RunStatus
from flowkit.runtime.wakeup import EXPECTED, Ended, Wakeups, WorkSignal
from flowkit.store.notices import ANYTHING, WORK, ended, ended_run
from flowkit.store.views_results import StoredValue
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


def test_a_change_of_the_log_that_this_process_made_itself_is_told_to_nobody(tmp_path: Path) -> None:
    log = tmp_path / "flowkit.db-wal"
    log.write_bytes(b"frames")
    asked = threading.Semaphore(0)

    def is_news() -> bool:
        asked.release()
        return False

    wakeups = Wakeups(FileWatcher(log, is_news))
    with wakeups.run("run") as signal:
        for size in range(3):
            assert asked.acquire(timeout=30)
            log.write_bytes(b"frames" * size)
        assert not signal.is_set()
    wakeups.close()


class Waits(threading.Event):
    """Takes no time to wait; after each wait it says how long it was told to, and is set once it heard enough."""

    def __init__(self, heard: Callable[[float], bool]) -> None:
        super().__init__()
        self._heard = heard

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        return self._heard(timeout)


def test_the_longer_nothing_is_committed_the_seldomer_is_the_log_looked_at(tmp_path: Path) -> None:
    log, paused = tmp_path / "log", [0.0]

    def heard(seconds: float) -> bool:
        paused.append(seconds)
        if len(paused) == 1500:
            log.write_bytes(b"a commit")
        return len(paused) > 1510

    FileWatcher(log).watch(Waits(heard), lambda: True, lambda notice: None)

    def pause_at(second: float) -> float:
        """How long the pause was that went on a number of seconds after the first one began."""
        passed = 0.0
        return next(pause for pause in paused if (passed := passed + pause) > second)

    assert [pause_at(second) for second in (1, 4, 6, 15, 21, 60)] == [0.01, 0.01, 0.04, 0.04, 0.08, 0.08]
    assert paused[1505] == 0.01


def test_who_waits_for_a_run_is_told_how_it_ended() -> None:
    wakeups = Wakeups(None)
    with wakeups.run("one") as one, wakeups.run("other") as other:
        wakeups.tell([Event("run_finished", 0, run_id="one", fields={"status": RunStatus.FAILED})])
        assert one.is_set()
        assert one.ended is RunStatus.FAILED
        assert not other.is_set()
        assert other.ended is None


class Says:
    """Tells one notice of another process's, and then listens on in silence."""

    def __init__(self, notice: str, *, is_told: bool = False) -> None:
        self._notice = notice
        self.is_told = is_told
        self.was_asked = False

    def watch(self, stop: threading.Event, needed: Callable[[], bool], tell: Callable[[str], None]) -> None:
        self.was_asked = True
        tell(self._notice)
        stop.wait()

    def patience(self, seconds: float) -> float:
        return seconds


@pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED])
def test_another_process_tells_who_waits_for_a_run_how_it_ended(status: RunStatus) -> None:
    (notice,) = ended([("sales:2026", status)])
    wakeups = Wakeups(Says(notice))
    with wakeups.run("sales:2026") as signal:
        assert signal.wait(30)
        assert signal.ended is status
    wakeups.close()


@pytest.mark.parametrize(("notice", "is_certain"), [(WORK, True), (ANYTHING, False)])
def test_work_of_another_process_spares_a_worker_the_look_that_anything_needs(notice: str, is_certain: bool) -> None:
    wakeups, signal = Wakeups(Says(notice)), WorkSignal()
    with wakeups.worker(signal), wakeups.watching():
        assert signal.wait(30)
        assert signal.there_is_work is is_certain
    wakeups.close()


def test_a_worker_that_once_had_nothing_to_do_hears_of_other_processes_unless_it_has_to_look_for_that() -> None:
    busy, told, looks = Says(WORK, is_told=True), Says(WORK, is_told=True), Says(WORK)
    for watcher in (busy, told, looks):
        wakeups, signal = Wakeups(watcher), WorkSignal()
        with wakeups.worker(signal) as listen:
            if watcher is not busy:
                listen()
                listen()
            assert watcher is not told or signal.wait(30)
        wakeups.close()
    assert [watcher.was_asked for watcher in (busy, told, looks)] == [False, True, False]


def test_a_child_that_leaves_a_block_of_its_parents_counts_nobody_less() -> None:
    wakeups = Wakeups(Says(WORK))
    with wakeups.watching():
        wakeups.after_fork()
    with wakeups.watching():
        assert wakeups._watchers == 1
    wakeups.close()


def test_where_the_system_refuses_a_thread_nobody_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    wakeups = Wakeups(Says(WORK))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError), wakeups.watching():
            pytest.fail("nobody watches")
    signal = WorkSignal()
    with wakeups.worker(signal), wakeups.watching():
        assert signal.wait(30)
        assert wakeups._watchers == 1
    wakeups.close()


def test_a_notice_of_a_later_flowkit_is_passed_over() -> None:
    assert [ended_run(notice) for notice in ("later:succeeded:run", "ended:paused:run", "ended", "")] == [None] * 4


def test_a_run_is_expected_to_end_until_that_was_asked_or_told() -> None:
    wakeups = Wakeups(None)
    wakeups.expect("asked")
    wakeups.expect("told")
    wakeups.ended("told", RunStatus.SUCCEEDED)

    assert [wakeups.expects("asked"), wakeups.expects("asked"), wakeups.expects("told")] == [True, False, False]
    assert not wakeups.expects("of another process")


def test_of_many_runs_that_are_expected_to_end_the_oldest_are_forgotten() -> None:
    wakeups = Wakeups(None)
    for number in range(EXPECTED + 1):
        wakeups.expect(str(number))

    assert [wakeups.expects("0"), wakeups.expects("1"), wakeups.expects(str(EXPECTED))] == [False, True, True]


def test_what_a_run_handed_over_before_it_was_retried_is_not_told_with_its_next_end() -> None:
    wakeups = Wakeups(None)
    wakeups.expect("one", "a")
    with wakeups.run("one") as signal:
        wakeups.ended("one", RunStatus.FAILED, lambda run, step: StoredValue("kind", b"1"))
        wakeups.ended("one", RunStatus.SUCCEEDED)  # as another process tells it
        assert signal.for_good == Ended(RunStatus.SUCCEEDED)
