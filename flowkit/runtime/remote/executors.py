"""Attempts on any ``concurrent.futures.Executor`` that the program gave: loky, Dask, the standard library's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future

from flowkit.model.step import Settlement
from flowkit.runtime.attempts import Attempt
from flowkit.runtime.pools import RemoteRun
from flowkit.runtime.remote.child import run_task
from flowkit.runtime.remote.desk import Desk

_LOOK_EVERY = 0.05
_TELLING = ("concurrent.futures.thread", "concurrent.futures.process", "loky.process_executor")
"""The modules of executors whose futures say when they begin to run."""


class ExecutorRunner:
    """Runs attempts on one executor, of which only ``submit`` is used; it stays the program's own to shut down."""

    def __init__(self, name: str, executor: Executor, run: RemoteRun, desk: Desk) -> None:
        self._name = name
        self._executor = executor
        self._run = run
        self._desk = desk
        self._starts = Starts(run.begin)
        self._tells = any(base.__module__ in _TELLING for base in type(executor).__mro__)

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Hand attempts over."""
        for attempt in attempts:
            self._start(attempt)

    def _start(self, attempt: Attempt) -> None:
        try:
            future = self._executor.submit(run_task, self._desk.task(attempt, can_ask=False))
        except Exception as error:
            self._run.finish(attempt, self._lost(attempt, error))
            return
        if attempt.leased.timeout is not None:
            if self._tells:
                self._starts.watch(attempt, future)
            else:
                # Such an executor never says when it calls; a timeout that never began would never be over.
                self._run.begin(attempt)
        attempt.interruptible(_canceling(future))
        future.add_done_callback(lambda done: self._run.finish(attempt, self._ended(attempt, done)))

    def _ended(self, attempt: Attempt, future: Future[bytes]) -> Settlement:
        try:
            body = future.result()
        except BaseException as error:  # CancelledError is one
            return self._lost(attempt, error) if attempt.stop_reason is None else self._desk.stopped(attempt)
        return self._desk.report(attempt, body)

    def _lost(self, attempt: Attempt, error: BaseException) -> Settlement:
        return self._desk.lost(attempt, f"pool {self._name!r} lost the attempt: {type(error).__name__}: {error}")

    def close(self) -> None:
        """Watch no longer; what runs is left to end by itself."""
        self._starts.close()


def _canceling(future: Future[bytes]) -> Callable[[], None]:
    def cancel() -> None:
        # Refused once it runs: then it goes on to its end, and its slot stays taken until then.
        future.cancel()

    return cancel


class Starts:
    """Notices when futures begin to run, for those attempts whose time then counts; looks every 50 ms."""

    def __init__(self, begin: Callable[[Attempt], None]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._waiting: list[tuple[Attempt, Future[bytes]]] = []
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def watch(self, attempt: Attempt, future: Future[bytes]) -> None:
        """Begin the attempt's time when the future runs."""
        with self._lock:
            self._waiting.append((attempt, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="flowkit-starts", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            with self._lock:
                looked_at, self._waiting = self._waiting, []
                for attempt, future in looked_at:
                    if future.running():
                        self._begin(attempt)
                    elif not future.done():
                        self._waiting.append((attempt, future))
                if not self._waiting:
                    self._thread = None
                    return

    def close(self) -> None:
        """Watch no longer."""
        self._over.set()
