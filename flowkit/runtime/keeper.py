"""Keeps what is in flight alive: extends leases off the executors' threads, ends attempts whose time is over."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from flowkit.clock import SECOND, Clock, micros
from flowkit.errors import StoreError
from flowkit.model.lease import extend_every, trusted_for
from flowkit.model.outcome import AttemptTimeout
from flowkit.runtime.attempt import failure, settlement
from flowkit.runtime.attempts import Attempt
from flowkit.runtime.telemetry import logger
from flowkit.store.engine import Engine

PROGRESS_SECONDS = 1.0


class Keeper:
    """One thread for all attempts of a Runtime; it exists while there is something to keep.

    Args:
        lease_seconds: how long a lease lasts.
        point: called at named points, where tests may make the process seem to die.
    """

    def __init__(self, engine: Engine, clock: Clock, lease_seconds: float, point: Callable[[str], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._lease = lease_seconds
        self._point = point
        self._extend_at = 0.0
        self._next = 0.0
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._attempts: dict[int, Attempt] = {}
        self._lock = threading.Lock()
        self._signal = threading.Event()
        self._thread: threading.Thread | None = None

    def after_fork(self) -> None:
        """Forget the parent's attempts and its thread."""
        self._begin()

    def add(self, attempt: Attempt) -> None:
        """Keep an attempt from now on."""
        # The lease counts from when it was taken, however long it took to come here.
        taken = self._clock.monotonic() - max(0, self._clock.now() - attempt.leased.lease.acquired_at) / SECOND
        attempt.trusted_until = taken + trusted_for(self._lease)
        attempt.nudge = self._nudge
        with self._lock:
            due = taken + extend_every(self._lease)
            if not self._attempts or due < self._extend_at:
                self._extend_at = due
                self._nudge(due)
            self._attempts[id(attempt)] = attempt
            if self._thread is None and not self._closed:
                self._start()

    def _start(self) -> None:
        # Noted once it runs: where the system refuses a thread, the next attempt asks for one again.
        thread = threading.Thread(target=self._keep, name="flowkit-keeper", daemon=True)
        thread.start()
        self._thread = thread

    def begin(self, attempt: Attempt) -> None:
        """Start the clock of an attempt's timeout; it counts from the call of the executor."""
        timeout = attempt.leased.timeout
        if timeout is not None:
            attempt.deadline = self._clock.monotonic() + timeout / 1_000_000
            self._nudge(attempt.deadline)

    def _nudge(self, at: float | None = None) -> None:
        # Without an instant: as soon as progress is stored.
        if (self._clock.monotonic() + PROGRESS_SECONDS if at is None else at) < self._next:
            self._signal.set()

    def drop(self, attempt: Attempt) -> None:
        """Keep an attempt no longer."""
        with self._lock:
            self._attempts.pop(id(attempt), None)

    def close(self) -> None:
        """Stop keeping anything."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._signal.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)

    def _keep(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            # Whatever ended it, the next attempt is kept by a new thread.
            with self._lock:
                self._thread = None
            # What is no Exception is a crash that a test asked for: who drives the worker raises it.
            if isinstance(error, Exception):
                raise

    def _loop(self) -> None:
        while True:
            with self._lock:
                attempts = list(self._attempts.values())
                if self._closed or (not attempts and self._idle()):
                    self._thread = None
                    return
            try:
                self.look_after(attempts)
            except Exception:
                # Whatever it is, what is in flight must not lose its leases by it: they are tried again, after a while.
                if not self._closed:
                    logger().exception("leases_not_kept")
                self._distrust([attempt for attempt in attempts if not attempt.settled])
                self._clock.wait(self._signal, PROGRESS_SECONDS)
                self._signal.clear()
                continue
            self._wait(attempts)

    def look_after(self, attempts: list[Attempt]) -> None:
        """Do what is due: end attempts whose time is over, extend the leases of the others, store progress."""
        now = self._clock.monotonic()
        self._expire([a for a in attempts if a.deadline is not None and a.deadline <= now])
        with self._lock:
            is_due = now >= self._extend_at
            if is_due:
                # Those too that came since *attempts* were listed, which may be why it is due.
                self._extend_at = now + extend_every(self._lease)
                attempts = list(self._attempts.values())
        if is_due:
            self._extend(attempts)
        elif any(a.progress is not a.progress_stored for a in attempts):
            self._store_progress(attempts)

    def _idle(self) -> bool:
        # A thread that ended with every short attempt would be started again for each: it lingers until the next
        # extension would be due.
        return self._clock.monotonic() >= self._extend_at

    def _wait(self, attempts: list[Attempt]) -> None:
        now = self._clock.monotonic()
        # Whoever sets a deadline from here on finds that the keeper sleeps too long, and wakes it.
        self._next = math.inf
        times = [self._extend_at, *(a.deadline for a in attempts if a.deadline is not None and not a.settled)]
        if attempts:
            times.append(now + PROGRESS_SECONDS)
        self._next = min(times)
        self._clock.wait(self._signal, max(0.0, self._next - now))
        self._signal.clear()

    def _expire(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            if not attempt.settled:
                seconds = (attempt.leased.timeout or 0) / 1_000_000
                error = AttemptTimeout(f"the attempt ran longer than its timeout of {seconds:g} s")
                now = self._clock.now()
                # Settled first: what a task that is canceled, or a thread, still delivers is then discarded.
                if attempt.settle(settlement(attempt, failure(attempt, error, now), now)):
                    attempt.stop("timeout")

    def _extend(self, attempts: list[Attempt]) -> None:
        held = [attempt for attempt in attempts if not attempt.settled]
        if not held:
            return
        started = self._clock.monotonic()
        try:
            self._point("during_heartbeat")
            with self._engine.write() as tx:
                steps = [attempt.leased for attempt in held]
                kept = self._engine.leases.extend(tx, steps, micros(self._lease), tx.now())
            self._store_progress([a for a in held if _lease_of(a) in kept])
        except StoreError:
            self._distrust(held)
            return
        for attempt in held:
            status = kept.get(_lease_of(attempt))
            attempt.trusted_until = started + trusted_for(self._lease)
            if status is None and not attempt.settled:
                attempt.stop("lost")
            elif status == "canceling":
                attempt.stop("canceled")

    def _distrust(self, held: list[Attempt]) -> None:
        # The store cannot be reached: before another worker may reclaim the steps, their executors are told to stop.
        now = self._clock.monotonic()
        self._extend_at = now + min(1.0, extend_every(self._lease))
        for attempt in held:
            if attempt.trusted_until <= now:
                attempt.stop("lost")

    def _store_progress(self, attempts: list[Attempt]) -> None:
        news = [(a, a.progress) for a in attempts if not a.settled and a.progress is not a.progress_stored]
        told = [(attempt, progress) for attempt, progress in news if progress is not None]
        if not told:
            return
        try:
            # Alone in its transaction: who settles locks a step and then its progress.
            with self._engine.write() as tx:
                self._engine.effects.progress(tx, [(a.leased.key, progress) for a, progress in told])
        except StoreError:
            return
        for attempt, progress in told:
            attempt.progress_stored = progress


def _lease_of(attempt: Attempt) -> tuple[int, int]:
    return attempt.leased.key, attempt.leased.lease.epoch
