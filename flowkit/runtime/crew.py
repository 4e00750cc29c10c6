"""Takes leased steps to the pools that run them and gathers their settlements."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Protocol

from flowkit.clock import Clock, SystemClock
from flowkit.model.outcome import Released
from flowkit.model.step import LeasedStep, Settlement
from flowkit.runtime.attempt import run_attempt, run_attempt_async, settlement
from flowkit.runtime.attempts import Attempt
from flowkit.runtime.instruments import Elsewhere
from flowkit.runtime.keeper import Keeper
from flowkit.runtime.pools import LoopPool, Pool, RemoteRun, ThreadPool
from flowkit.runtime.registry import Registry
from flowkit.runtime.services import Services
from flowkit.runtime.telemetry import logger
from flowkit.runtime.wakeup import WorkSignal

_HOST = SystemClock()
"""How long executors really take is a matter of the host, whatever clock the engine goes by."""


class RemotePools(Protocol):
    """Makes the pools that run attempts outside this process."""

    def __call__(self, name: str, run: RemoteRun) -> Pool:
        """Return the pool of this name."""


class Crew:
    """The attempts in flight of one worker: at most *size*, whatever pools they run in."""

    def __init__(
        self, registry: Registry, services: Services, keeper: Keeper, clock: Clock, size: int, remote: RemotePools
    ) -> None:
        self.size = size
        self.wake = WorkSignal()
        self.crashed: BaseException | None = None
        self._registry = registry
        self._services = services
        self._keeper = keeper
        self.clock = clock
        self._remote = remote
        self._inbox: deque[tuple[Attempt, Settlement]] = deque()
        self._flying: dict[tuple[int, int], Attempt] = {}
        self._all_in = threading.Event()
        self.make_pass: Callable[[], bool] | None = None
        self._threads = ThreadPool(size, self._run_pooled, self._hand_over, self._tell_refused)
        # A pass on the event loop holds nothing up there: it is made when nothing is left in flight.
        self._loop = LoopPool(self._run_async, self._hand_over)
        self._pools: dict[str, Pool] = {}

    @property
    def free(self) -> int:
        """How many more attempts may start."""
        return self.size - len(self._flying)

    @property
    def in_flight(self) -> int:
        """How many attempts hold a slot, those included that were settled but have not ended."""
        return len(self._flying)

    @property
    def has_mail(self) -> bool:
        """Whether a settlement came back."""
        return bool(self._inbox)

    @property
    def is_all_in(self) -> bool:
        """Whether no attempt in flight has its outcome still to come."""
        return len(self._inbox) >= len(self._flying)

    def is_young(self, seconds: float) -> bool:
        """Whether all attempts whose outcomes are still to come were launched less than *seconds* ago, by host time."""
        # They are in the order in which they were launched.
        oldest = next((attempt for attempt in list(self._flying.values()) if not attempt.settled), None)
        return oldest is None or _HOST.monotonic() - oldest.launched_at < seconds

    def wait_for_all(self, seconds: float) -> bool:
        """Wait for the outcomes of all that is in flight, by the host's time; returns whether they came."""
        return self.is_all_in or self._all_in.wait(seconds)

    @property
    def hung(self) -> list[Attempt]:
        """Those that were settled (timeout, lost lease) but hold their slot: their threads have not ended."""
        return [attempt for attempt in list(self._flying.values()) if attempt.settled and not attempt.ended]

    @property
    def is_blocked(self) -> bool:
        """Whether attempts that hang hold every slot, so that nothing can be started."""
        return len(self.hung) >= self.size

    def attempts(self) -> list[Attempt]:
        """Return the attempts that hold a slot."""
        return list(self._flying.values())

    def launch(self, attempts: Sequence[Attempt]) -> None:
        """Start attempts, each in the pool it belongs to; Ctrl-C meanwhile gives back what did not come so far."""
        try:
            self._hand_to_pools(attempts)
        except BaseException:
            now = self.clock.now()
            for attempt in attempts:
                # A process may have it, which cannot be asked.
                if not attempt.launched_at or attempt.executable.definition.pool is None:
                    attempt.release(settlement(attempt, Released(), now))
            raise

    def _hand_to_pools(self, attempts: Sequence[Attempt]) -> None:
        self._all_in.clear()
        by_pool: dict[int, tuple[Pool, list[Attempt]]] = {}
        now = _HOST.monotonic()
        for attempt in attempts:
            if attempt.launched_at:
                continue
            attempt.launched_at, attempt.ended = now, False
            pool = self._pool(attempt)
            by_pool.setdefault(id(pool), (pool, []))[1].append(attempt)
        for pool, group in by_pool.values():
            pool.start(group)

    def prepare(self, leased: LeasedStep) -> Attempt:
        """Make an attempt of a leased step and keep its lease alive."""
        identity = (leased.key, leased.lease.epoch)
        if identity in self._flying:
            # It came here before, from where Ctrl-C came before that could be noted.
            return self._flying[identity]
        executable = self._registry.executable(leased.kind)
        assert executable is not None, f"leased a step of kind {leased.kind!r}, which is not served here"
        attempt = Attempt(leased, executable, self._deliver, identity=identity, ended=True)
        self._flying[identity] = attempt
        self._keeper.add(attempt)
        return attempt

    def run_here(self, attempt: Attempt) -> None:
        """Run an attempt in the calling thread; Ctrl-C there is the program's, not the step's.

        Raises:
            KeyboardInterrupt: it came while the executor ran; the attempt is not settled.
        """
        try:
            attempt.ended = False
            copy_context().run(self._run, attempt, interrupts=True)
        except BaseException:
            attempt.ended = True
            raise

    def _pool(self, attempt: Attempt) -> Pool:
        definition = attempt.executable.definition
        if definition.pool is None:
            return self._loop if definition.is_async else self._threads
        pool = self._pools.get(definition.pool)
        if pool is None:
            pool = self._pools[definition.pool] = self._remote_pool(definition.pool)
        return pool

    def _remote_pool(self, name: str) -> Pool:
        instruments = self._services.instruments
        if instruments is None:
            return self._remote(name, self)
        elsewhere = Elsewhere(self, instruments)
        return elsewhere.pool(self._remote(name, elsewhere))

    def begin(self, attempt: Attempt) -> None:
        """Start the clock of the attempt's timeout: its executor is called now."""
        if attempt.leased.timeout is not None:
            self._keeper.begin(attempt)

    def finish(self, attempt: Attempt, settled: Settlement) -> None:
        """Take the end of an attempt; one that was settled before only gives its slot back."""
        attempt.ended = True
        if not attempt.settle(settled):
            self._leave(attempt)

    def _claims(self, attempt: Attempt) -> bool:
        if attempt.claim():
            self.begin(attempt)
            return True
        # It was given back before a thread was free for it.
        attempt.ended = True
        self._leave(attempt)
        return False

    def _run(self, attempt: Attempt, *, interrupts: bool = False, hands_over: bool = False) -> None:
        if not self._claims(attempt):
            return
        outcome = run_attempt(attempt, self._services, interrupts=interrupts)
        attempt.is_handed_over = hands_over
        self.finish(attempt, settlement(attempt, outcome, self.clock.now()))

    def _run_pooled(self, attempt: Attempt) -> None:
        self._run(attempt, hands_over=True)

    def _hand_over(self) -> None:
        # While others are in flight the loop is woken, for their outcomes may share its commit.
        if not (self.is_all_in and self.make_pass is not None and self.make_pass()) and not self.wake.is_set():
            self.wake.set()

    def _tell_refused(self, threads: int, error: Exception) -> None:
        logger().warning("threads_refused", threads=threads, max_workers=self.size, error=str(error))

    async def _run_async(self, attempt: Attempt) -> None:
        if not self._claims(attempt):
            return
        outcome = await run_attempt_async(attempt, self._services)
        attempt.is_handed_over = True
        self.finish(attempt, settlement(attempt, outcome, self.clock.now()))

    def _deliver(self, attempt: Attempt, settled: Settlement) -> None:
        self._inbox.append((attempt, settled))
        if self.is_all_in:
            self._all_in.set()
        if not attempt.is_handed_over and not self.wake.is_set():
            self.wake.set()

    def _leave(self, attempt: Attempt) -> None:
        self._flying.pop(attempt.identity, None)
        self._keeper.drop(attempt)
        self.wake.set()

    def collect(self, settled: list[Settlement]) -> None:
        """Add the settlements that came back; the attempts behind them that have ended give their slots back."""
        while self._inbox:
            attempt, settlement_ = self._inbox[0]
            settled.append(settlement_)
            if attempt.ended:
                self._flying.pop(attempt.identity, None)
            self._keeper.drop(attempt)
            self._inbox.popleft()

    def forget_ended(self) -> None:
        """Give back the slots of attempts of which neither a thread nor a settlement is left."""
        coming = {id(attempt) for attempt, _ in self._inbox}
        for attempt in self.attempts():
            if attempt.settled and attempt.ended and id(attempt) not in coming:
                self._leave(attempt)

    def give_up(self) -> None:
        """Release every attempt that has not settled; what a thread still delivers is discarded."""
        now = self.clock.now()
        for attempt in self.attempts():
            if not attempt.settled:
                attempt.stop("released")
                attempt.settle(settlement(attempt, Released(), now))

    def stop_run(self, run_id: str) -> None:
        """Tell the executors of a canceled run to stop."""
        for attempt in self.attempts():
            if attempt.leased.run_id == run_id and not attempt.settled:
                attempt.stop("canceled")

    def crash(self, error: BaseException) -> None:
        """Stand still from now on, as if the process were gone; who drives the crew raises *error*."""
        self.crashed = error
        self.wake.set()

    def close(self) -> None:
        """Close the pools."""
        pools: list[Pool] = [self._threads, self._loop, *self._pools.values()]
        for pool in pools:
            pool.close()
