"""Looking out for what other processes commit: a file that grows with every commit, looked at again and again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from flowkit.store.notices import ANYTHING

LOOK_EVERY = 0.01
"""Seconds between two looks at the write-ahead log; a look is one stat, no open and no statement."""

LOOK_SELDOM, LOOK_RARELY = 0.04, 0.08
"""Seconds between two looks once nothing has changed for long, and for longer; a first commit is seen soon enough.

To be woken costs far more than to look, on a virtual machine more than 0.1 ms of processor.
"""

QUIET_AFTER, LONG_QUIET_AFTER = 500, 875
"""After so many looks that found no change they become seldom, and then rare: that is after five and twenty seconds."""

LINGER = 100
"""How many looks are made when nobody waits any more: a waiter that comes again would start a thread each time."""


class Watcher(Protocol):
    """Looks out for what other processes commit.

    Attributes:
        is_told: whether it costs nothing where nothing is committed, so that it need not stop while a worker is busy.
    """

    is_told: bool

    def watch(self, stop: threading.Event, needed: Callable[[], bool], tell: Callable[[str], None]) -> None:
        """Tell every notice until *stop* is set, or nobody has needed it for a while; runs in a thread of its own."""

    def patience(self, seconds: float) -> float:
        """Return how long a worker may rest that would look every *seconds* if it were told nothing."""


class FileWatcher:
    """Looks at a file that changes with every commit of any process.

    Args:
        is_news: says of a change whether anybody else has committed; who wrote it itself has nothing to be told.
    """

    is_told = False

    def __init__(self, path: Path, is_news: Callable[[], bool] = lambda: True) -> None:
        self._path = os.fspath(path)
        self._is_news = is_news

    def patience(self, seconds: float) -> float:
        """Return *seconds*: to look costs little."""
        return seconds

    def watch(self, stop: threading.Event, needed: Callable[[], bool], tell: Callable[[str], None]) -> None:
        """Tell that anything may have happened whenever the file has changed."""
        # What was committed before the first look is told by it.
        seen: tuple[int, int] | None = None
        idle = quiet = 0
        while idle <= LINGER and not stop.wait(_pause_after(quiet)):
            found = self._look()
            changed, seen = found != seen, found
            quiet = 0 if changed else quiet + 1
            # The file changes before its commit is there to be read, and that takes as long as a disk may take; and
            # times of files are coarse. So a change is told at once, and again after 1, 2, 4, 8... looks without one.
            if quiet < QUIET_AFTER and not quiet & (quiet - 1) and self._is_news():
                tell(ANYTHING)
            idle = 0 if needed() else idle + 1

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns


def _pause_after(quiet: int) -> float:
    """Return the seconds until the next look, after so many looks that found no change."""
    if quiet < QUIET_AFTER:
        return LOOK_EVERY
    return LOOK_SELDOM if quiet < LONG_QUIET_AFTER else LOOK_RARELY
