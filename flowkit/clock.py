"""Where time and ids come from: injected, so that every rule about them can be tested without waiting."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

Micros = int
"""An instant (UTC, since the epoch) or a duration, in integer microseconds."""

SECOND: Micros = 1_000_000

Duration = float | timedelta
"""What users give for a length of time: seconds, or a timedelta."""


def in_seconds(value: Duration) -> float:
    """Return a duration as seconds; what is none is left as it is, for whoever checks it to refuse."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def micros(seconds: float) -> Micros:
    """Convert a duration in seconds to integer microseconds."""
    return round(seconds * SECOND)


class Clock(Protocol):
    """What the engine asks of time."""

    def now(self) -> Micros:
        """Return the present instant in integer microseconds UTC."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps; only differences mean anything."""

    def wait(self, signal: threading.Event, timeout: float | None) -> bool:
        """Block until *signal* is set or *timeout* seconds passed on this clock; True if it is set."""


class SystemClock:
    """The host's own clocks."""

    def now(self) -> Micros:
        """Return the host's wall clock in integer microseconds UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Return the host's monotonic clock in seconds."""
        return time.monotonic()

    def wait(self, signal: threading.Event, timeout: float | None) -> bool:
        """Block until *signal* is set or *timeout* seconds have passed."""
        return signal.wait(timeout)


class IdSource:
    """Random tokens and time-ordered ids."""

    def token(self) -> str:
        """Return 128 random bits that prove a lease, in hex."""
        return os.urandom(16).hex()

    def uuid7(self, now: Micros) -> str:
        """Return a UUIDv7 (RFC 9562, section 5.7) for *now* in its 36-character form."""
        value = (now // 1000 & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
        value = value & ~(0xF << 76) | 0x7 << 76
        value = value & ~(0x3 << 62) | 0x2 << 62
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class FollowingClock(SystemClock):
    """Another machine's clock: what it told last, and how much time has passed here since, on a clock that never steps.

    It is behind that machine by the time its quickest answer was under way, with what was done meanwhile, and never
    ahead by more than what two clocks drift apart between two answers.
    """

    def __init__(self) -> None:
        self._told = (super().now(), self.monotonic())

    def now(self) -> Micros:
        """Return what the other clock shows now."""
        told, at = self._told
        return told + round((self.monotonic() - at) * SECOND)

    def ask(self, question: Callable[[], Micros]) -> None:
        """Take over what the other machine answers to *question*."""
        asked = self.monotonic()
        told = question()
        took, shown = self.monotonic() - asked, self.now()
        # An answer that was long under way says little: where what is shown may be right, it is the nearer.
        self._told = (shown if told <= shown <= told + round(took * SECOND) else told, self.monotonic())

    @property
    def age(self) -> float:
        """Seconds since it was told the time."""
        return self.monotonic() - self._told[1]
