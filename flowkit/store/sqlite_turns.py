"""How processes take turns in writing to one SQLite file: whoever waits asks often, for a turn is soon over."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

from flowkit.clock import SystemClock

BUSY_SECONDS = 30.0
"""How long a transaction, or a read during another process's recovery of the file, waits before it is refused."""

NAPS = (0.0003, 0.001)
"""Seconds between two tries: at first, for the transaction of a pass takes a few milliseconds; and later on."""

_PATIENT = f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}"

LONG = 0.03
"""After so many seconds of waiting the longer nap does: it is no pass that is waited for."""


def begin_in_turn(raw: Any, begin: str) -> None:
    """Begin to write as soon as no other process does.

    SQLite's own waiting sleeps for 1, 2, 5, 10, 15, 20, 25 ms and more: most of that is time in which nobody writes.

    Raises:
        sqlite3.OperationalError: others were writing for all of ``BUSY_SECONDS``.
    """
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        if not _begins(raw, begin):
            _wait_and_begin(raw, begin)
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
