"""Who may make a worker's next pass: its loop, or, while that rests, a thread that would only wake it to make one.

A pass that is made by the thread which has something for it spares a hand-over between threads, and a start that leases
its own first steps spares a commit (the idea of flat combining: Hendler, Incze, Shavit and Tzafrir, SPAA 2010).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from flowkit.clock import Micros


class Baton:
    """Held by the worker's loop, whose thread makes it, from the beginning; free only while that rests."""

    def __init__(self) -> None:
        # Of this kind, for it knows itself who has it, also where Ctrl-C comes before anybody could note it.
        self._lock = threading.RLock()
        self._lock.acquire()
        self._holder: int | None = threading.get_ident()
        self.rests_until: Micros = 0

    @property
    def is_here(self) -> bool:
        """Whether the calling thread has it."""
        return self._holder == threading.get_ident()

    def borrow(self) -> bool:
        """Take it if the loop rests; whoever gets True makes the next pass, and gives it back."""
        here = threading.get_ident()
        if self._holder == here or not self._lock.acquire(blocking=False):
            return False
        self._holder = here
        return True

    def give_back(self) -> None:
        """Let the loop, or the next one, have it; nothing where the calling thread does not have it."""
        if self._holder == threading.get_ident():
            self._holder = None
        with suppress(RuntimeError):
            # More than once where Ctrl-C kept a thread from it before.
            while True:
                self._lock.release()

    def hold(self) -> None:
        """Have it in the loop's thread, also where Ctrl-C came while that wanted it back."""
        if not self.is_here:
            self._lock.acquire()
            self._holder = threading.get_ident()

    @contextmanager
    def resting(self, until: Micros) -> Iterator[None]:
        """Let others borrow it for the length of this block, in which the loop rests."""
        self.rests_until, self._holder = until, None
        self._lock.release()
        try:
            yield
        finally:
            self.hold()
