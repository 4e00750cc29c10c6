"""The worker's loop: cycle, hand to the pools, wait to be woken, stop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, copy_context

from flowkit.clock import SECOND, Micros, micros
from flowkit.errors import StoreError
from flowkit.model.step import Settlement
from flowkit.runtime.attempts import Attempt
from flowkit.runtime.baton import Baton
from flowkit.runtime.crew import Crew
from flowkit.runtime.gathering import Gathering
from flowkit.runtime.lull import Lull
from flowkit.runtime.telemetry import Telemetry
from flowkit.runtime.wakeup import Wakeups
from flowkit.scheduler.cycle import Cycle
from flowkit.scheduler.search import Demand
from flowkit.scheduler.turned import Taken, Turned
from flowkit.store.database import Session
from flowkit.store.tally import Tally

PAUSE_AFTER_ERROR = (0.05, 5.0)
"""Seconds to wait after the store refused a cycle: the first time, and at most."""

SOON = 0.005
"""Seconds for which a worker that leased all there was, or all it can run, waits before it looks for more."""

BRIEFLY = 1.0
"""Seconds for which a worker leaves its passes to other threads, before it sees again to what else there is to do."""


class Worker:
    """Drives one crew through cycles.

    Attributes:
        lull: says why it has nothing to start.
        only: the key of the one run whose steps are leased; None for all.
        queues: those from which steps are leased; None for all.
    """

    def __init__(
        self,
        crew: Crew,
        cycle: Cycle,
        kinds: Callable[[], Collection[str]],
        telemetry: Telemetry,
        wakeups: Wakeups,
        point: Callable[[str], None],
    ) -> None:
        self.crew = crew
        self.baton = Baton()
        self._cycle = cycle
        self._kinds = kinds
        self._telemetry = telemetry
        self._wakeups = wakeups
        self._clock = crew.clock
        self._point = point
        self._kept: list[Settlement] = []
        self.lull = Lull(telemetry, crew.clock)
        self._lends = False
        self._gathering = Gathering(crew)
        self._is_told_to_stop: Callable[[], bool] = lambda: False
        self._pause = 0.0
        self._borrowed = 0
        self._context = Context()
        self._listen: Callable[[], None] = lambda: None
        self.only: int | None = None
        self.queues: Collection[str] | None = None

    def turn(self, slots: int | None = None, *, run: int | None = None, skip: Collection[int] = ()) -> Turned:
        """Settle what came back and lease what is next; what a refused cycle held is kept for the next one."""
        self.stand_still_if_crashed()
        self.crew.collect(self._kept)
        self._cycle.listening = self._telemetry.listening
        free = self._free if slots is None else min(slots, self._room)
        settles = bool(self._kept)
        if settles:
            self._point("before_commit")
        only = self.only if run is None else run
        turned = self._cycle.turn(self._kept, Demand(free, self._kinds(), only, frozenset(skip), self.queues))
        self._kept = []
        if settles:
            self._point("after_commit")
        self._tell(turned)
        if turned.leased:
            self._point("after_lease")
        return turned

    @property
    def _room(self) -> int:
        return max(0, self.crew.free - self._cycle.owed.count)

    @property
    def _free(self) -> int:
        # Whoever makes a pass for a loop that was told to stop, or crashed, leases nothing for it.
        return 0 if self.crew.crashed is not None or self._is_told_to_stop() else self._room

    def _tell(self, turned: Turned) -> None:
        # An observer may make a pass, to which what is leased here is not forgotten; after Ctrl-C in an observer it is.
        aside = self._cycle.owed.set_aside()
        try:
            self._telemetry.tell(turned.events)
            self._wakeups.tell(turned.events, turned.result_of)
        finally:
            self._cycle.owed.take_back(aside)
        if turned.leased or turned.verdicts:
            self.lull.over()

    def prepare(self, turned: Turned) -> list[Attempt]:
        """Make attempts of what a turn leased, which the caller sees to."""
        if not turned.leased:
            return []
        attempts = [self.crew.prepare(leased) for leased in turned.leased]
        self._cycle.owed.launched()
        return attempts

    def launch(self, turned: Turned) -> None:
        """Start attempts of what a turn leased; begun anew after Ctrl-C, it starts those that were not."""
        if turned.leased:
            self.crew.launch([self.crew.prepare(leased) for leased in turned.leased])
            self._cycle.owed.launched()

    def loop(
        self, stop: Callable[[], bool], poll_interval: float, max_cycles: int | None, each: Callable[[], None]
    ) -> None:
        """Work until *stop* says so or *max_cycles* passes are made; *each* is called before every pass."""
        cycles = 0
        # Who counts passes wants to see each of them made by the loop.
        self._lends = max_cycles is None
        self._is_told_to_stop = stop
        self._context = copy_context()
        self.crew.make_pass = self.make_pass if self._lends else None
        with self._wakeups.worker(self.crew.wake) as self._listen:
            while not stop() and (max_cycles is None or cycles < max_cycles):
                cycles += 1
                self.crew.wake.clear()
                try:
                    each()
                    self._pass(poll_interval)
                    self._pause = 0.0
                except StoreError as error:
                    self._wait_out(error, stop)

    def _pass(self, poll_interval: float) -> None:
        self.stand_still_if_crashed()
        hinted, self.crew.wake.there_is_work = self.crew.wake.there_is_work, False
        if not (self.crew.has_mail or self._kept or (hinted and self.crew.free)):
            due, wake_at, held = self._cycle.look(Demand(self.crew.free, self._kinds(), self.only, queues=self.queues))
            if not due:
                self._tell_idle(held)
                self._rest(self._wakeups.patience(poll_interval), wake_at)
                return
        self._gathering.wait()
        turned = self.turn()
        self.launch(turned)
        if turned.refused is not None:
            raise turned.refused
        if turned.leased or turned.contended:
            self._rest_briefly(poll_interval)

    def _rest_briefly(self, poll_interval: float) -> None:
        # There was no more to lease, or there is no slot left, so a look would find nothing; most likely an attempt
        # ends before it would. The same holds after every pass that another thread makes meanwhile. Nobody looks out
        # for what other processes commit, unless they tell: the next pass finds it, or the look after so short a rest.
        soon, seen = min(poll_interval, SOON), -1
        until = self._clock.monotonic() + min(poll_interval, BRIEFLY)
        with self._lent(soon):
            while seen != self._borrowed and not self.crew.wake.is_set() and self._clock.monotonic() < until:
                # The baton stays with the others: to take it for this question would cost one of them its pass.
                seen, self.baton.rests_until = self._borrowed, self._clock.now() + micros(soon)
                self._clock.wait(self.crew.wake, soon)
        if not self.crew.wake.is_set():
            self._listen()

    def _rest(self, poll_interval: float, wake_at: Micros | None) -> None:
        seconds = poll_interval
        if wake_at is not None:
            seconds = min(seconds, (wake_at - self._clock.now()) / SECOND)
        if seconds > 0:
            with self._wakeups.watching(), self._lent(seconds):
                self._clock.wait(self.crew.wake, seconds)

    def _lent(self, seconds: float) -> AbstractContextManager[None]:
        """Leave the passes of so many seconds to other threads, if they may make them."""
        return self.baton.resting(self._clock.now() + micros(seconds)) if self._lends else nullcontext()

    def make_pass(self) -> bool:
        """Make a pass in the calling thread, if the loop rests; whoever gets False wakes the loop instead."""
        if not self.baton.borrow():
            return False
        try:
            self._go_on(self.turn)
        except BaseException as error:
            # The thread is a pool's, which must not end by it; the loop raises it.
            self.crew.crash(error)
        finally:
            self.baton.give_back()
        return True

    def join(self, tx: Session, tally: Tally) -> Taken:
        """Lease what is next in a transaction of the calling thread, which has borrowed the baton."""
        self._cycle.listening = tally.listening
        return self._cycle.join(tx, Demand(self._free, self._kinds(), self.only, queues=self.queues), tally)

    def go_on_with(self, taken: Taken) -> None:
        """Start the attempts of what ``join`` leased; the transaction is committed."""
        self._go_on(lambda: self._loaded(taken))

    def _loaded(self, taken: Taken) -> Turned:
        turned = Turned()
        self._cycle.hand_out(taken, turned)
        self._tell(turned)
        if turned.leased:
            self._point("after_lease")
        return turned

    def _go_on(self, make: Callable[[], Turned]) -> None:
        self._borrowed += 1
        try:
            # What runs, or is told, may be of anybody: it is not for it to see whose request happens to make the pass.
            turned = self._context.copy().run(self._made, make)
        except BaseException as error:
            # The loop goes on. A refused store is its to deal with, as if it had made the pass; what Ctrl-C or another
            # signal raised is the calling thread's own.
            self.crew.wake.set()
            if not isinstance(error, StoreError) and error is not self.crew.crashed:
                raise
        else:
            due = turned.due_at is not None and turned.due_at < self.baton.rests_until
            if due or turned.limited or turned.contended or turned.refused is not None:
                self.crew.wake.set()
            else:
                self._tell_idle({})

    def _made(self, make: Callable[[], Turned]) -> Turned:
        turned = make()
        self.launch(turned)
        return turned

    def look(self, slots: int, run: int | None = None) -> tuple[bool, Micros | None]:
        """Say whether a turn for *slots* attempts would do anything now, or else when."""
        due, wake_at, _ = self._cycle.look(Demand(min(slots, self.crew.free), self._kinds(), run, queues=self.queues))
        return due, wake_at

    def stand_still_if_crashed(self) -> None:
        """Raise what crashed the crew, if something did."""
        if self.crew.crashed is not None:
            raise self.crew.crashed

    def _tell_idle(self, held: Mapping[str, Micros]) -> None:
        if not self.crew.in_flight:
            self.lull.idle(held)

    def _wait_out(self, error: StoreError, is_over: Callable[[], bool]) -> None:
        # A full disk or a locked store is no reason to spin, nor to end: what is held is offered again.
        first, most = PAUSE_AFTER_ERROR
        self._pause = min(most, self._pause * 2 or first)
        self._telemetry.log.warning("store_refused_cycle", error=str(error), retry_in=self._pause)
        until = self._clock.monotonic() + self._pause
        # Outcomes that come in meanwhile wake it too, and are no reason to ask the store sooner.
        while not is_over() and (left := until - self._clock.monotonic()) > 0:
            self._clock.wait(self.crew.wake, left)
            self.crew.wake.clear()

    def finish(self, grace: Callable[[], float]) -> None:
        """Stop: let what is in flight end, for at most *grace* seconds, then give the rest back to the next worker.

        Args:
            grace: asked again and again, for whoever stops a worker may lose patience.
        """
        self.baton.hold()
        since = self._clock.monotonic()
        while self.crew.in_flight > len(self.crew.hung) or self._has_to_turn:
            self.stand_still_if_crashed()
            left = since + grace() - self._clock.monotonic()
            if left <= 0:
                self.crew.give_up()
            self.crew.wake.clear()
            if not self._has_to_turn:
                self._clock.wait(self.crew.wake, min(left, 0.25))
                continue
            try:
                turned = self.turn(0)
                if left > 0:
                    self.launch(turned)
                else:
                    self.prepare(turned)
                if turned.refused is not None:
                    raise turned.refused
            except StoreError as error:
                if left <= 0:
                    return
                self._wait_out(error, lambda: self._clock.monotonic() >= since + grace())

    @property
    def _has_to_turn(self) -> bool:
        return self.crew.has_mail or bool(self._kept) or self._cycle.owed.count > 0
