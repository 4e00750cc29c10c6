"""Time that is skipped: where ``run()`` of a Runtime would wait, the clock is set to when there is something to do."""

from __future__ import annotations

import threading
from typing import Any

from flowkit.clock import SECOND, Micros
from flowkit.testing.clock import FakeClock

_MOMENT = 0.005
_SHOWN = 5


class Stuck(AssertionError):
    """A run can go on by nothing that time alone brings: a paused queue, a kind that nobody serves."""


class Skipping:
    """Sets the clock of one Runtime forward instead of letting its ``run()`` wait.

    While workers run in the background, time is the test's own to move.
    """

    def __init__(self, runtime: Any, clock: FakeClock) -> None:
        self._runtime = runtime
        self._clock = clock
        runtime._parts.wait_out = self._skip

    def _skip(self, run_id: str, signal: threading.Event, wake_at: Micros | None) -> None:
        parts = self._runtime._parts
        crew = parts.inline.crew
        if any(other is not crew for other in list(parts.crews)):
            # Workers in the background are at work in real time; a jump would take their leases from them.
            signal.wait(_MOMENT)
        elif crew.in_flight > len(crew.hung):
            raise Stuck(f"run {run_id!r} waits inside an executor, whose lease would not outlive a jump of the clock")
        elif wake_at is None:
            raise Stuck(f"run {run_id!r} cannot go on by itself: {self._reasons(run_id)}")
        else:
            self._clock.advance(max(0, wake_at - self._clock.now()) / SECOND)

    def _reasons(self, run_id: str) -> str:
        steps = [step for step in self._runtime.steps(run_id, limit=1000) if not step.status.is_ended]
        told = [f"{step.id}: {self._runtime.explain(run_id, step.id).text}" for step in steps[:_SHOWN]]
        return "; ".join(told) + ("; ..." if len(steps) > _SHOWN else "")
