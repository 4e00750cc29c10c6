"""A handle on one run: wait for it, read its output."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar, overload

import attrs

from flowkit.clock import Duration
from flowkit.model.definitions import ANY
from flowkit.model.run import Run
from flowkit.model.states import RunStatus
from flowkit.runtime.settings import checked_step_id
from flowkit.runtime.waiting import Until
from flowkit.runtime.wakeup import Ended

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class Waits(Protocol):
    """What a handle asks of its Runtime."""

    def wait_for(self, run_id: str, timeout: Duration | None, until: Until | None = None) -> Ended:
        """Block until the run has ended, or what of it is enough has come; return how it stands."""

    def output_of(self, run_id: str, ended: Ended, step_id: str | None, type: Any) -> Any:
        """Return the output of a run that has ended, or one step's result."""

    def get_run(self, run_id: str) -> Run:
        """Return the run."""


@attrs.frozen(eq=False)
class RunHandle(Generic[R_co]):
    """A run that was started or found; ``R`` is what its output is.

    Attributes:
        id: the run's id.
        package: what was started.
        name: the run's name, if it has one.
        created: False where a run with this id was there already.
    """

    id: str
    package: str
    name: str | None
    created: bool
    _waits: Waits = attrs.field(repr=False)

    def wait(self, timeout: Duration | None = None) -> Run:
        """Block until the run has ended, however it did, and return it.

        Args:
            timeout: seconds, or a timedelta, to wait at most.

        Raises:
            WaitTimeout: the time is over; the run goes on.
            InvalidTransition: the run was started in a transaction of this thread that is not committed yet.
            RunNotFound: that transaction was rolled back, or the run was pruned.
            ConfigError: this thread runs an event loop, and the run has not ended; see ``rt.aio.handle``.
        """
        self._waits.wait_for(self.id, timeout)
        return self._waits.get_run(self.id)

    @overload
    def result(self, *, timeout: Duration | None = None) -> R_co: ...
    @overload
    def result(self, step_id: str, *, timeout: Duration | None = None) -> Any: ...
    @overload
    def result(self, step_id: str | None, type: type[T], timeout: Duration | None = None) -> T: ...
    @overload
    def result(self, *, type: type[T], timeout: Duration | None = None) -> T: ...
    @overload
    def result(self, step_id: str | None = None, type: Any = ANY, timeout: Duration | None = None) -> Any: ...
    def result(self, step_id: str | None = None, type: Any = ANY, timeout: Duration | None = None) -> Any:
        """Wait for the run's end and return its output; or wait for one step and return its result.

        Args:
            step_id: return this step's result instead, as soon as it has succeeded.
            type: structure the value into this rather than into the executor's return annotation.
            timeout: seconds, or a timedelta, to wait at most.

        Raises:
            RunFailed: with the failed steps and their errors; once the run has ended so, for every step.
            RunCanceled: the run was canceled.
            ResultNotFound: the run names no output; return a handle from the entrypoint.
            StepNotFound: the output was named by id, and no such step came to be.
            WaitTimeout: the time is over; the run goes on.
            ConfigError: what is given for an id is none; or this thread runs an event loop, and there is something to
                wait for; see ``rt.aio.handle``.
        """
        wanted = checked_step_id(step_id)
        ended = self._waits.wait_for(self.id, timeout, None if wanted is None else Until(wanted))
        return self._waits.output_of(self.id, ended, step_id, type)

    def status(self) -> RunStatus:
        """Return where the run is now."""
        return self._waits.get_run(self.id).status
