"""Starting, stopping and driving the workers of one Runtime."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flowkit.clock import Duration, SystemClock
from flowkit.errors import ConfigError, InvalidTransition, RunNotFound
from flowkit.model.run import Run
from flowkit.runtime.forks import renew_after_fork
from flowkit.runtime.inline import CycleResult, Inline
from flowkit.runtime.parts import Parts
from flowkit.runtime.settings import checked_cycles, checked_timeout
from flowkit.runtime.threads import runs_event_loop
from flowkit.runtime.worker import Worker

GRACE = 10.0
_HOST = SystemClock()


class Lifecycle:
    """What drives the workers: passes in the calling thread, or loops that block."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        self._stopping = False
        self._grace = GRACE
        self._working = threading.Lock()
        self._worker: Worker | None = None
        self._driver: threading.Thread | None = None
        self.queues: frozenset[str] | None = None

    def after_fork(self) -> None:
        """Forget the parent's workers: their threads are not here."""
        self._begin()
        self._parts.after_fork()

    def refuse_here(self, call: str) -> None:
        """Refuse to execute steps where that would block an event loop, or be part of the program's transaction.

        Raises:
            ConfigError: this thread runs an event loop.
            InvalidTransition: it has a transaction of the program's own database open.
        """
        if runs_event_loop():
            raise ConfigError(f"rt.{call}() would block the running event loop; use rt.aio.{call}() there")
        if self._parts.engine.db.joins_program():
            message = f"rt.{call}() executes steps, which a rollback of the open transaction could not undo"
            raise InvalidTransition(f"{message}; call it after the commit", None)

    @contextmanager
    def _inline(self, call: str) -> Iterator[Inline]:
        with self._parts.inline_lock:
            inline = self._parts.inline
            inline.tidy()
            # One thread at a time has the lock, so an attempt that is under way here is the one that calls.
            if not inline.crew.free and inline.crew.in_flight > len(inline.crew.hung):
                message = f"rt.{call}() was called by an executor that holds the last slot, so it could never go on"
                raise ConfigError(f"{message}; emit child steps with step.emit(), or give max_workers room for both")
            yield inline

    def run_once(self) -> CycleResult:
        """Make one pass in the calling thread."""
        self.refuse_here("run_once")
        with self._inline("run_once") as inline:
            return inline.run_once()

    def drain(self, timeout: Duration | None, max_cycles: int | None) -> CycleResult:
        """Make passes until no step is due."""
        self.refuse_here("drain")
        clock, most = self._parts.clock, checked_cycles("drain", max_cycles)
        seconds = checked_timeout("drain", timeout)
        until = None if seconds is None else clock.monotonic() + seconds
        total, cycles = CycleResult(), 0
        with self._inline("drain") as inline:
            while most is None or cycles < most:
                cycles += 1
                result = inline.run_once()
                total += result
                due = bool(result.processed) or inline.look()[0]
                if not due or (until is not None and clock.monotonic() >= until):
                    break
        return total

    def run_to_end(self, run_id: str, stop: threading.Event | None = None) -> Run:
        """Execute one run's steps in the calling thread until it has ended, waiting out delays, or *stop* is set."""
        parts, key = self._parts, self._key(run_id)
        # Woken too when a slot comes free, which an attempt that timed out may hold for long.
        with self._inline("run") as inline, parts.wakeups.run(run_id, inline.crew.wake) as signal:
            while True:
                signal.clear()
                # Also before the first pass: another run may have been executed here meanwhile.
                if stop is not None and stop.is_set():
                    return parts.waiting.get_run(run_id)
                result = inline.run_once(key)
                run = parts.waiting.get_run(run_id)
                if run.is_ended:
                    return run
                if result.processed:
                    continue
                due, wake_at = inline.look(key)
                if not due:
                    parts.wait_out(run_id, signal, wake_at)

    def work(
        self, poll_interval: float, max_cycles: int | None, stop: threading.Event | None, run_id: str | None = None
    ) -> None:
        """Run a worker's loop until it is told to stop, and hand back what is in flight.

        Args:
            run_id: execute the steps of this run alone, and do not offer others to work for them.

        Raises:
            ConfigError: an argument is out of range, these workers run already, or this thread runs an event loop.
        """
        self.refuse_here("start_workers")
        checked_cycles("start_workers", max_cycles)
        if stop is not None and not (hasattr(stop, "is_set") and hasattr(stop, "wait")):
            raise ConfigError(f"start_workers: stop: expected None or a threading.Event, got {stop!r}")
        if not self._working.acquire(blocking=False):
            raise ConfigError("the workers of this Runtime run already; one start_workers() at a time")
        try:
            self._work(poll_interval, max_cycles, stop, run_id)
        finally:
            # What was told meant this loop, also where it was told just before the loop began; it means no later one.
            self._stopping = False
            self._grace = GRACE
            self._working.release()

    def _work(
        self, poll_interval: float, max_cycles: int | None, stop: threading.Event | None, run_id: str | None
    ) -> None:
        parts = self._parts
        worker = self._worker = parts.looping = parts.worker()
        announcement = parts.announcement(worker.crew) if run_id is None else None
        if announcement is not None:
            announcement.queues = self.queues
        worker.only = self._key(run_id) if run_id is not None else None
        worker.queues = self.queues if run_id is None else None
        self._driver = threading.current_thread()
        stopper = _Stopper(stop, worker.crew.wake) if stop is not None else None
        try:
            is_told = lambda: self._stopping or (stop is not None and stop.is_set())  # noqa: E731
            worker.loop(is_told, poll_interval, max_cycles, announcement.refresh if announcement else lambda: None)
            worker.finish(lambda: self._grace)
        except KeyboardInterrupt:
            # Whoever presses Ctrl-C does not wait for what is in flight; nor must the next worker wait for its leases.
            worker.finish(lambda: 0.0)
            raise
        finally:
            self._worker = self._driver = parts.looping = None
            if stopper is not None:
                stopper.end()
            parts.forget(worker)
            if announcement is not None:
                announcement.end()

    def _key(self, run_id: str) -> int:
        with self._parts.engine.read() as tx:
            found = self._parts.engine.runs.find(tx, run_id)
        if found is None:
            raise RunNotFound(run_id)
        return found.key

    def shutdown(self, grace: float) -> None:
        """Tell the running workers to stop; where none run, those that are about to begin."""
        self._grace = grace
        self._stopping = True
        worker = self._worker
        if worker is not None:
            _set(worker.crew.wake)

    def close(self) -> None:
        """Stop the workers, if they run, and wait until they have.

        Raises:
            InvalidTransition: it is the worker's own thread that would wait: an observer called.
        """
        worker = self._worker
        if self._driver is threading.current_thread() or (worker is not None and worker.baton.is_here):
            message = "an observer cannot close the runtime whose worker calls it; call rt.shutdown() there"
            raise InvalidTransition(message, None)
        while self._worker is not None:
            self.shutdown(0.0)
            if self._working.acquire(timeout=0.05):
                self._working.release()
                return

    @contextmanager
    def background(self, run: Callable[[], None]) -> Iterator[None]:
        """Run *run* in a thread for the length of the block; an error in it is raised at the end."""
        errors: list[BaseException] = []
        started = threading.Event()

        def target() -> None:
            started.set()
            try:
                run()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=target, name="flowkit-worker", daemon=True)
        thread.start()
        started.wait()
        try:
            yield
        except BaseException:
            # Nobody is left to move a clock of the program's own: the grace is counted on the host's.
            self._join(thread, patience=self._grace)
            raise
        else:
            self._join(thread)
        if errors:
            raise errors[0]

    def _join(self, thread: threading.Thread, patience: float | None = None) -> None:
        since = _HOST.monotonic()
        while thread.is_alive():
            # The loop may not have begun yet, and forgets what it was told when it ends: it is told until it has.
            is_over = patience is not None and _HOST.monotonic() - since >= patience
            self.shutdown(0.0 if is_over else self._grace)
            thread.join(timeout=0.05)
        if not self._working.locked():
            self._stopping = False


def _set(signal: threading.Event) -> None:
    # The main thread may be in a signal handler that interrupted itself while it held the lock of this very event:
    # there only another thread can wait for that lock.
    if threading.current_thread() is threading.main_thread():
        _thread.start_new_thread(signal.set, ())
    else:
        signal.set()


class _Stopper:
    """Wakes a worker's loop when the program's own event is set."""

    def __init__(self, stop: threading.Event, wake: threading.Event) -> None:
        self._stop = stop
        self._wake = wake
        self._over = False
        threading.Thread(target=self._watch, name="flowkit-stop", daemon=True).start()

    def _watch(self) -> None:
        while not self._over:
            if self._stop.wait(0.1):
                self._wake.set()
                return

    def end(self) -> None:
        """Watch no longer."""
        self._over = True
