"""Waiting for a run in this process or another, and reading its output when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import attrs

from flowkit.clock import Clock, Duration
from flowkit.errors import (
    ConfigError,
    InvalidTransition,
    RunNotFound,
    StepNotFound,
    WaitTimeout,
)
from flowkit.model.run import Run
from flowkit.model.states import RunStatus, StepStatus
from flowkit.model.worker import WorkerInfo
from flowkit.runtime.outputs import Outputs
from flowkit.runtime.registry import Registry
from flowkit.runtime.settings import checked_timeout
from flowkit.runtime.telemetry import Telemetry
from flowkit.runtime.threads import runs_event_loop
from flowkit.runtime.wakeup import Ended, Wakeups
from flowkit.store.engine import Engine

WARN_AFTER = 5.0
"""Seconds of waiting after which it is said that no live worker serves what is waited for."""

UNTOLD = 0.01
"""Seconds after which a run is looked at whose end is expected to be told; to look before would hold that end up."""


STEP_POLL = 0.25
"""Seconds after which a step that is waited for is looked at: who waits is told of the end of runs alone."""


@attrs.frozen
class Until:
    """That a step has ended, before its run has.

    Attributes:
        step_id: the step; it may be one that is yet to come.
        enough: which ends count; of any other the run's end is waited for too.
    """

    step_id: str
    enough: Collection[StepStatus] = frozenset({StepStatus.SUCCEEDED})


class Watch:
    """One wait for a run: it is looked at whenever something may have happened, until it has ended.

    Args:
        until: what of it is enough before that.

    Attributes:
        left: seconds until it should be looked at again in any case.
    """

    def __init__(self, waiting: Waiting, run_id: str, timeout: float | None, poll: float, until: Until | None) -> None:
        self._waiting = waiting
        self._run_id = run_id
        self._timeout = timeout
        self._poll = poll if until is None else min(poll, STEP_POLL)
        self._until = until
        self._inside = waiting.is_inside
        self._started = waiting.clock.monotonic()
        self._warned = False
        self.left = poll

    def look(self) -> Ended | None:
        """Return how the run ended, if it has, or how it stands where what of it is enough has come to be.

        Of one that is expected to end soon it is not asked the first time.

        Raises:
            WaitTimeout: the time is over.
            RunNotFound, InvalidTransition: it is not there, or not committed.
        """
        if self._until is None and self._waiting.is_expected(self._run_id):
            self.left = UNTOLD if self._timeout is None else min(UNTOLD, self._timeout)
            return None
        status = self._waiting.standing(self._run_id, inside=self._inside)
        if status.is_ended or (self._until is not None and self._waiting.has_come(self._run_id, self._until)):
            return Ended(status)
        waited, timeout = self._waiting.clock.monotonic() - self._started, self._timeout
        if timeout is not None and waited >= timeout:
            raise WaitTimeout(f"run {self._run_id!r} is {status.value} after {timeout:g} s; it goes on")
        if waited >= WARN_AFTER and not self._warned:
            self._warned = True
            self._waiting.warn(self._run_id, inside=self._inside)
        self.left = self._poll if timeout is None else min(self._poll, timeout - waited)
        return None


class Waiting:
    """Waits and outputs of one Runtime's handles."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        wakeups: Wakeups,
        telemetry: Telemetry,
        poll_interval: float,
        live: Callable[[], Collection[WorkerInfo]],
    ) -> None:
        self._engine = engine
        self._outputs = Outputs(engine, registry)
        self._wakeups = wakeups
        self._telemetry = telemetry
        self._poll = poll_interval
        self._live = live

    @property
    def clock(self) -> Clock:
        """The engine's clock."""
        return self._engine.db.clock

    def get_run(self, run_id: str) -> Run:
        """Return the run.

        Raises:
            RunNotFound: there is none.
        """
        with self._engine.read() as tx:
            run = self._engine.views.run(tx, run_id)
        if run is None:
            raise RunNotFound(run_id)
        return run

    def standing(self, run_id: str, *, inside: bool) -> RunStatus:
        """Return where the run is as others see it; *inside*: a transaction is open that may have started it."""
        with self._engine.db.outside() as tx:
            run = self._engine.runs.find(tx, run_id)
        if run is None and inside:
            message = f"run {run_id!r} is not committed yet: wait for it after the transaction that started it"
            raise InvalidTransition(message, None)
        if run is None:
            raise RunNotFound(run_id)
        return run.status

    def is_expected(self, run_id: str) -> bool:
        """Whether a run is expected to end soon, and somebody in this process will tell; said once of each."""
        return self._wakeups.expects(run_id)

    @property
    def is_inside(self) -> bool:
        """Whether this thread has a transaction of the program open, which may have started what it waits for."""
        return self._engine.db.joins_program()

    def has_come(self, run_id: str, until: Until) -> bool:
        """Whether what of a run is enough has come to be."""
        with self._engine.db.outside() as tx, suppress(StepNotFound):
            return self._engine.views.step(tx, run_id, until.step_id).status in until.enough
        return False

    def watch(self, run_id: str, timeout: Duration | None, until: Until | None = None) -> Watch:
        """Begin to wait.

        Raises:
            ConfigError: the timeout is no number.
        """
        return Watch(self, run_id, checked_timeout("wait", timeout), self._poll, until)

    def wait_for(
        self,
        run_id: str,
        timeout: Duration | None,
        until: Until | None = None,
        each: Callable[[], None] | None = None,
    ) -> Ended:
        """Block until the run has ended, or what of it is enough has come; return how it stands.

        Woken by events, and by polling as the net.

        Args:
            each: called before every look.

        Raises:
            ConfigError: this thread runs an event loop, and would have to wait.
        """
        watch = self.watch(run_id, timeout, until)
        with self._wakeups.run(run_id) as signal:
            while True:
                signal.clear()
                if each is not None:
                    each()
                ended = signal.for_good or watch.look()
                if ended is not None:
                    return ended
                if watch.left > 0:
                    _refuse_in_event_loop(run_id)
                self.clock.wait(signal, watch.left)

    def warn(self, run_id: str, *, inside: bool) -> None:
        """Say in the log what keeps a run from its end: the wait itself, or that no live worker serves it."""
        if inside and self._engine.db.dialect.one_writer:
            hint = "no worker can write while the transaction that this thread has open does; wait after its end"
            self._telemetry.log.warning("waits_in_a_transaction", run_id=run_id, hint=hint)
        else:
            self._warn_unserved(run_id)

    def unserved(self, run_id: str) -> list[str]:
        """Return the kinds of a run's ready steps that no live worker serves, in order."""
        with self._engine.db.outside() as tx:
            run = self._engine.runs.find(tx, run_id)
            waiting = self._engine.lanes.waiting(tx, run.key) if run is not None else set()
        live = self._live()
        return sorted({kind for kind, queue in waiting if not any(one.serves(kind, queue) for one in live)})

    def _warn_unserved(self, run_id: str) -> None:
        unserved = self.unserved(run_id)
        if unserved:
            hint = "start a worker: rt.start_workers() or with rt.workers(), with these kinds' modules in modules=[...]"
            self._telemetry.log.warning("no_worker_serves", run_id=run_id, kinds=unserved, hint=hint)

    def output_of(self, run_id: str, ended: Ended, step_id: str | None, type: Any) -> Any:
        """Return the output of a run that ended like this, or one step's result, as the annotation says."""
        return self._outputs.get(run_id, ended, step_id, type)


def _refuse_in_event_loop(run_id: str) -> None:
    if runs_event_loop():
        twin = f"use handle = await rt.aio.handle({run_id!r}) there, and await its result() or wait()"
        raise ConfigError(f"waiting for run {run_id!r} would block the running event loop; {twin}")
