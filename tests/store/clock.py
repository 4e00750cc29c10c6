"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading

from flowkit.clock import Micros, micros

START: Micros = 1_700_000_000_000_000
"""Where a test's time begins."""


class FakeClock:
    """Time as a test tells it, for the wall and for durations alike."""

    def __init__(self, now: Micros = START) -> None:
        self._now = now
        self._elapsed: Micros = 0

    def now(self) -> Micros:
        """Return the test's instant."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds by which the clock was advanced; setting it does not count."""
        return self._elapsed / 1_000_000

    def wait(self, signal: threading.Event, timeout: float | None) -> bool:
        """Let the timeout pass at once."""
        if not signal.is_set() and timeout:
            self.advance(timeout)
        return signal.is_set()

    def advance(self, seconds: float) -> Micros:
        """Let time pass; returns the new instant."""
        self._now += micros(seconds)
        self._elapsed += micros(seconds)
        return self._now

    def set(self, now: Micros) -> None:
        """Set the wall clock, forward or back, as an administrator would."""
        self._now = now
