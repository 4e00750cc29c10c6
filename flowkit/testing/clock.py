"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading

from flowkit.clock import SECOND, Duration, Micros, in_seconds, micros

START: Micros = 1_700_000_000 * SECOND
_LOOK_EVERY = 0.002
_MOST_SECONDS = 10**11


class FakeClock:
    """Time for tests: ``advance(seconds)`` moves it and wakes every wait; nothing else does.

    A wait ends when its signal is set, or when the clock has been moved past its timeout. That counts from when the
    thread last looked at the clock, so a move between its look and its wait is not missed.
    """

    def __init__(self, start: Micros = START) -> None:
        self._now = start
        self._elapsed: Micros = 0
        self._moved = threading.Condition()
        self._looked = threading.local()

    def now(self) -> Micros:
        """Return the present instant in integer microseconds UTC."""
        self._looked.at = self._elapsed
        return self._now

    def monotonic(self) -> float:
        """Return seconds since the clock was made."""
        self._looked.at = self._elapsed
        return self._elapsed / SECOND

    def advance(self, seconds: Duration) -> None:
        """Move the clock forward by *seconds*, or by a timedelta, and wake every wait."""
        moved = _checked("advance", seconds)
        if moved < 0:
            raise ValueError(f"advance: expected seconds >= 0, got {seconds!r}; step() sets the wall clock back")
        with self._moved:
            self._now += moved
            self._elapsed += moved
            self._moved.notify_all()

    def step(self, seconds: Duration) -> None:
        """Set the wall clock by *seconds*, which may be negative; the monotonic clock does not move."""
        moved = _checked("step", seconds)
        with self._moved:
            self._now += moved
            self._moved.notify_all()

    def wait(self, signal: threading.Event, timeout: float | None) -> bool:
        """Block until *signal* is set or the clock was moved by *timeout* seconds."""
        since: Micros = getattr(self._looked, "at", self._elapsed)
        until = None if timeout is None else since + micros(timeout)
        with self._moved:
            while not signal.is_set() and (until is None or self._elapsed < until):
                # A signal is set without telling this condition, so it is looked at again and again, in real time.
                self._moved.wait(_LOOK_EVERY)
            self._looked.at = self._elapsed
        return signal.is_set()


def _checked(call: str, seconds: Duration) -> Micros:
    given = in_seconds(seconds)
    if not isinstance(given, (int, float)) or not -_MOST_SECONDS <= given <= _MOST_SECONDS:
        raise ValueError(f"{call}: expected seconds up to {_MOST_SECONDS:g} or a timedelta, got {seconds!r}")
    return micros(given)
