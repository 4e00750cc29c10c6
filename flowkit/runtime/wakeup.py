"""Wakes who waits: workers when there may be work, waiters when their run may have ended; between processes too."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK_EVERY = 0.01
"""Seconds between two looks at the write-ahead log; a look is one stat, no open and no statement."""

LOOK_SELDOM = 0.025
"""Seconds between two looks once nothing has changed for long; a first commit is still seen soon enough."""

QUIET_AFTER = 500
"""How many looks in a row must find no change before they become seldom; at first that is five seconds."""


class WorkSignal(threading.Event):
    """Wakes a worker's loop; ``there_is_work`` says that it need not look first whether there is something to do."""

    def __init__(self) -> None:
        super().__init__()
        self.there_is_work = False


class Wakeups:
    """Signals of one Runtime.

    Args:
        wal: a file that changes with every commit of any process, if the store has one.
    """

    def __init__(self, wal: Path | None) -> None:
        self._wal = os.fspath(wal) if wal is not None else None
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._workers: set[WorkSignal] = set()
        self._runs: dict[str, set[threading.Event]] = {}
        self._watchers = 0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._seen: tuple[int, int] | None = None

    def after_fork(self) -> None:
        """Forget who waits in the parent, and its thread."""
        self._begin()

    def work(self) -> None:
        """This process has made something ready: wake its workers, and spare them a look before they lease."""
        with self._lock:
            workers = list(self._workers)
        for signal in workers:
            signal.there_is_work = True
            signal.set()

    def ended(self, run_ids: Iterable[str]) -> None:
        """These runs have ended: wake who waits for them."""
        with self._lock:
            waiting = [signal for run_id in run_ids for signal in self._runs.get(run_id, ())]
        for signal in waiting:
            signal.set()

    def everybody(self) -> None:
        """Anything may have happened: wake all."""
        with self._lock:
            waiting = [*self._workers, *(signal for signals in self._runs.values() for signal in signals)]
        for signal in waiting:
            signal.set()

    @contextmanager
    def worker(self, signal: WorkSignal) -> Iterator[None]:
        """Have *signal* set whenever there may be work."""
        with self._lock:
            self._workers.add(signal)
        try:
            yield
        finally:
            with self._lock:
                self._workers.discard(signal)

    @contextmanager
    def run(self, run_id: str, signal: threading.Event | None = None) -> Iterator[threading.Event]:
        """Give a signal, *signal* or a new one, that is set when this run may have ended."""
        signal = signal or threading.Event()
        with self._lock:
            self._runs.setdefault(run_id, set()).add(signal)
        try:
            with self.watching():
                yield signal
        finally:
            with self._lock:
                left = self._runs[run_id]
                left.discard(signal)
                if not left:
                    del self._runs[run_id]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look out for commits of other processes while somebody waits in this block."""
        self._watch(1)
        try:
            yield
        finally:
            self._watch(-1)

    def _watch(self, change: int) -> None:
        if self._wal is None:
            return
        with self._lock:
            self._watchers += change
            if self._watchers and self._thread is None and not self._stop.is_set():
                self._seen = self._look()
                self._thread = threading.Thread(target=self._loop, name="flowkit-wakeup", daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        idle = quiet = 0
        while not self._stop.wait(LOOK_EVERY if quiet < QUIET_AFTER else LOOK_SELDOM):
            found = self._look()
            changed, self._seen = found != self._seen, found
            quiet = 0 if changed else quiet + 1
            # The file changes before its commit is there to be read, and that takes as long as a disk may take; and
            # times of files are coarse. So a change is told at once, and again after 1, 2, 4, 8... looks without one.
            if quiet < QUIET_AFTER and not quiet & (quiet - 1):
                self.everybody()
            with self._lock:
                # It lingers a little, for a waiter that comes again at once would start a thread each time.
                idle = 0 if self._watchers else idle + 1
                if idle > 100:
                    self._thread = None
                    return

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._wal or "")
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    def close(self) -> None:
        """Wake everybody a last time and stop looking, for good."""
        with self._lock:
            self._stop.set()
            thread = self._thread
        self.everybody()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)
