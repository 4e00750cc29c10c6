"""Steps whose dependencies ended in a transaction: how far each has come, and which of them it makes ready."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import attrs

from flowkit.clock import Micros


class Unstored(Protocol):
    """Steps that the transaction stores at its end."""

    def spec(self, key: int) -> tuple[Any, ...]:
        """Return what an attempt of such a step needs to know, as it would be read."""

    def lease(self, key: int, *, token: str, worker: str, now: Micros, expires_at: Micros) -> None:
        """Let such a step be stored as leased."""


@attrs.define
class Waiter:
    """A pending step of which something that it waits for has ended; or a new one that is not stored yet.

    Attributes:
        lane: where it will be ready.
        left: for how many dependencies it waits, as it is stored; so are what follows.
        delay: how long after it is ready it is due, in microseconds.
        met: how many dependencies have ended.
        told: whether it was told that the step is ready now.
        ready_at: since when a new one is ready; the others are so as of the transaction.
        unstored: among which steps it is that are not stored yet, if it is.
    """

    key: int
    lane: int
    left: int
    delay: int
    priority: int
    id: str
    attempt: int
    epoch: int
    generation: int
    met: int = 0
    told: bool = False
    ready_at: Micros | None = None
    unstored: Unstored | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it waits for nothing any more."""
        return self.met == self.left

    @property
    def is_due(self) -> bool:
        """Whether it may be leased at once."""
        return self.is_ready and not self.delay


class Waiters:
    """Counts that are to fall: written once, together, when it is known which of the ready steps are leased at once.

    Their runs are locked, so what is read of a waiter stays true until then.

    Attributes:
        are_owed: whether somebody sees to it that the counts are written.
    """

    def __init__(self) -> None:
        self._all: dict[int, Waiter] = {}
        self.are_owed = False

    def __bool__(self) -> bool:
        return bool(self._all)

    def __contains__(self, key: object) -> bool:
        return key in self._all

    def __getitem__(self, key: int) -> Waiter:
        return self._all[key]

    def bear(self, new: Iterable[Waiter]) -> None:
        """Add steps that are ready and not stored yet."""
        self._all.update((waiter.key, waiter) for waiter in new)

    def meet(self, seen: Waiter) -> None:
        """Count one more dependency of a waiter, which was read just now."""
        self._all.setdefault(seen.key, seen).met += 1

    def drop(self, keys: Iterable[int]) -> None:
        """Forget steps of which nothing is left to be written."""
        for key in keys:
            self._all.pop(key, None)

    def due(self) -> list[Waiter]:
        """Return the steps that may be leased as they are made ready."""
        return [waiter for waiter in self._all.values() if waiter.is_due]

    def tell(self) -> list[int]:
        """Return the keys of all steps that are made ready, each once."""
        ready = [waiter for waiter in self._all.values() if waiter.is_ready and not waiter.told]
        for waiter in ready:
            waiter.told = True
        return [waiter.key for waiter in ready]

    def due_at(self, now: Micros) -> Micros | None:
        """Return when the first of the steps is due that are made ready *now* and may not be leased yet."""
        delays = (waiter.delay for waiter in self._all.values() if waiter.is_ready and waiter.delay)
        return min((now + delay for delay in delays), default=None)

    def take(self) -> list[tuple[int, int]]:
        """Return the keys of all that are stored, each with by how much the step's count falls, and forget them."""
        counts = [(waiter.key, waiter.met) for waiter in self._all.values() if waiter.unstored is None]
        self._all.clear()
        self.are_owed = False
        return counts
