"""An attempt in flight: its lease as this process sees it, why it should stop, and that it delivers only once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Literal

import attrs

from flowkit.errors import InvalidTransition, LeaseLost
from flowkit.model.outputs import Progress
from flowkit.model.step import LeasedStep, Settlement
from flowkit.runtime.registry import Executable

StopReason = Literal["canceled", "lost", "timeout", "released"]


@attrs.define(eq=False)
class Attempt:
    """One attempt on its way through a pool; shared by the thread that runs it, the keeper and the worker's loop.

    Attributes:
        leased: the step and the lease.
        executable: what runs it.
        deliver: takes the attempt's settlement; called at most once.
        stop_reason: why it should stop, once it should.
        progress: the last that the executor reported.
        trace: the trace context that goes with it to another process.
        identity: what tells it from every other attempt of a store: the step's key and the epoch of the lease.
        launched_at: on the host's monotonic clock, when it was given to its pool; before that, 0.
        trusted_until: on the monotonic clock, until when this process may believe in the lease.
        ended: no thread or process has it, not yet or not any more.
        is_handed_over: the thread that ran it sees to it that its outcome is settled, and nobody need be woken.
        has_returned: its executor returned or raised, so that nothing more is collected.
    """

    leased: LeasedStep
    executable: Executable
    deliver: Callable[[Attempt, Settlement], None] = attrs.field(repr=False)
    trace: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    identity: tuple[int, int] = (0, 0)
    launched_at: float = 0.0
    trusted_until: float = 0.0
    deadline: float | None = None
    stop_reason: StopReason | None = None
    progress: Progress | None = None
    progress_stored: Progress | None = None
    ended: bool = False
    is_handed_over: bool = False
    has_returned: bool = False
    interrupt: Callable[[], None] | None = attrs.field(default=None, repr=False)
    nudge: Callable[[], None] | None = attrs.field(default=None, repr=False)
    _settled: bool = False
    _claimed: bool = False
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def settle(self, settlement: Settlement) -> bool:
        """Deliver the attempt's outcome; False where it was settled already, and what comes now is discarded."""
        with self._lock:
            if self._settled:
                return False
            self._settled = True
        self.deliver(self, settlement)
        return True

    def claim(self) -> bool:
        """Note that an executor is called for it now, which keeps it from ``release``; False where it was settled."""
        with self._lock:
            self._claimed = not self._settled
            return self._claimed

    def release(self, settlement: Settlement) -> None:
        """Settle it so, unless it was settled or its executor is called already."""
        with self._lock:
            if self._settled or self._claimed:
                return
            self._settled = self.ended = True
        self.deliver(self, settlement)

    @property
    def settled(self) -> bool:
        """Whether an outcome was delivered."""
        return self._settled

    def require_open(self) -> None:
        """Refuse what an executor, or a thread that it left behind, hands over when nobody takes it any more.

        Raises:
            InvalidTransition: the executor has returned, or raised.
            LeaseLost: the attempt was settled while it runs: its time was over, or the worker gave it back.
        """
        run_id, step_id = self.leased.run_id, self.leased.id
        if self.has_returned:
            who = f"attempt {self.leased.attempt} of step {step_id!r} of run {run_id!r}"
            what = "what is handed over now would be lost; wait in the executor for the threads that it starts"
            raise InvalidTransition(f"{who} has ended: {what}")
        if self._settled:
            raise LeaseLost(run_id, step_id)

    def stop(self, reason: StopReason) -> None:
        """Tell the executor to stop: ``step.canceled`` turns true, a task is canceled, a process is killed."""
        with self._lock:
            if self.stop_reason is not None or self.ended:
                return
            self.stop_reason = reason
            interrupt = self.interrupt
        if interrupt is not None:
            interrupt()

    def report(self, progress: Progress) -> None:
        """Take the progress that the executor reports; whoever keeps the attempt stores it soon."""
        self.progress = progress
        if self.nudge is not None and self.progress_stored is None:
            self.nudge()

    def interruptible(self, interrupt: Callable[[], None]) -> None:
        """Say how to interrupt the executor; done at once where it should have stopped already."""
        with self._lock:
            self.interrupt = interrupt
            late = self.stop_reason is not None
        if late:
            interrupt()
