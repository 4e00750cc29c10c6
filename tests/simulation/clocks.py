"""A host's clocks: a wall clock that may be wrong, drift and be set, and a monotonic one that only drifts."""

from __future__ import annotations

import threading

from flowkit.clock import SECOND, Micros, micros

START: Micros = 1_700_000_000 * SECOND

WRONG, DRIFT = 1.5, 0.003
"""By how many seconds a clock may be wrong from the start, and by how many more in each second; either way."""


class HostClock:
    """Derived from the world's true time, which nobody in it can read."""

    def __init__(self) -> None:
        self.reset()

    def reset(self, offset: float = 0.0, drift: float = 0.0) -> None:
        """Begin anew: *offset* seconds ahead, and *drift* seconds faster per second."""
        self.true: Micros = 0
        self._offset = micros(offset)
        self._drift = drift

    def now(self) -> Micros:
        """Return what the wall clock shows."""
        return START + self._offset + self._elapsed()

    def monotonic(self) -> float:
        """Return seconds on the clock that is never set."""
        return self._elapsed() / SECOND

    def _elapsed(self) -> Micros:
        return self.true + int(self.true * self._drift)

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self._offset += micros(seconds)

    def wait(self, signal: threading.Event, timeout: float | None) -> bool:
        """Refuse: a world of one thread has nobody who could wake a sleeper."""
        raise AssertionError("something waits in a world of one thread")
