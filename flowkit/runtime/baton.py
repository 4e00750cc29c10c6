"""Who may make a worker's next pass: its loop, or, while that rests, a thread that would only wake it to make one.

A pass that is made by the thread which has something for it spares a hand-over between threads, and a start that leases
its own first steps spares a commit (the idea of flat combining: Hendler, Incze, Shavit and Tzafrir, SPAA 2010).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flowkit.clock import Micros


class Baton:
    """Held by the worker's loop from the beginning; free only while that rests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._holder: int | None = None
        self.rests_until: Micros = 0

    @property
    def is_borrowed_here(self) -> bool:
        """Whether the calling thread has borrowed it."""
        return self._holder == threading.get_ident()

    def borrow(self) -> bool:
        """Take it if the loop rests; whoever gets True makes the next pass, and gives it back."""
        if not self._lock.acquire(blocking=False):
            return False
        self._holder = threading.get_ident()
        return True

    def give_back(self) -> None:
        """Let the loop, or the next one, have it."""
        self._holder = None
        self._lock.release()

    @contextmanager
    def resting(self, until: Micros) -> Iterator[None]:
        """Let others borrow it for the length of this block, in which the loop rests."""
        self.rests_until = until
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
