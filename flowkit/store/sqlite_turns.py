"""How processes take turns in writing to one SQLite file: whoever waits asks often, for a turn is soon over."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

from flowkit.clock import Clock, SystemClock

BUSY_SECONDS = 30.0
"""How long a transaction, or a read during another process's recovery of the file, waits before it is refused."""

NAPS = (0.0003, 0.001)
"""Seconds between two tries: at first, for the transaction of a pass takes a few milliseconds; and later on."""

_PATIENT = f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}"

WAITED, SHARED_SECONDS = 0.001, 10.0
"""A beginning that takes so long has waited for another process, which is then reckoned with for a while: SQLite sleeps
for 1 ms at least."""

AT_ONCE = 50
"""After so many turns in a row that were had at once nobody else is reckoned with any more: to ask costs 14 us each."""

LONG = 0.03
"""After so many seconds of waiting the longer nap does: it is no pass that is waited for."""


class Turns:
    """How this process has found the file lately: its own, or shared with others that write.

    Args:
        clock: the host's, for it is about what is going on there.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._shared_until = 0.0
        self._had_at_once = 0

    def begin(self, raw: Any, begin: str) -> None:
        """Begin to write as soon as no other process does.

        SQLite's own waiting sleeps for 1, 2, 5, 10, 15, 20, 25 ms and more: most of that is time in which nobody
        writes. So it is left to SQLite only where nobody was waited for lately.

        Raises:
            sqlite3.OperationalError: others were writing for all of ``BUSY_SECONDS``.
        """
        asked = self._clock.monotonic()
        if asked < self._shared_until and self._had_at_once < AT_ONCE:
            waited = _ask_for_turn(raw, begin)
            self._had_at_once += 1
        else:
            raw.execute(begin)
            waited = self._clock.monotonic() - asked >= WAITED
        if waited:
            self._had_at_once, self._shared_until = 0, self._clock.monotonic() + SHARED_SECONDS


def _ask_for_turn(raw: Any, begin: str) -> bool:
    """Begin when it is this process's turn; returns whether it was not at once."""
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        if _begins(raw, begin):
            return False
        _wait_and_begin(raw, begin)
        return True
    finally:
        raw.execute(_PATIENT)


def _begins(raw: Any, begin: str) -> bool:
    try:
        raw.execute(begin)
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
        return False
    return True


def _wait_and_begin(raw: Any, begin: str) -> None:
    clock, nobody, waited = SystemClock(), threading.Event(), 0.0
    since = clock.monotonic()
    while waited < BUSY_SECONDS:
        nobody.wait(NAPS[waited >= LONG])
        if _begins(raw, begin):
            return
        waited = clock.monotonic() - since
    raw.execute(begin)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether an error says that somebody else holds the file, or a table of it."""
    text = str(error)
    return "locked" in text or "busy" in text
