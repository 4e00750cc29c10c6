"""When a worker looks for leases that have run out, and by which clock."""

from __future__ import annotations

from flowkit.clock import SECOND, Micros
from flowkit.store.database import Session
from flowkit.store.engine import Engine
from flowkit.store.lanes import Glance
from flowkit.store.tally import Tally


class Sweeper:
    """Takes back expired leases, a few times a lease and not in each of 1,000 passes a second.

    Args:
        lease: how long this worker's leases last.
    """

    def __init__(self, engine: Engine, lease: Micros) -> None:
        self._engine = engine
        self._interval = min(lease // 10, SECOND)
        self._swept_at: Micros | None = None
        self._timed_at: Micros | None = None

    def sweep(self, tx: Session, tally: Tally) -> tuple[int, bool]:
        """Take back what has expired, unless that was looked at just now.

        Returns how many steps were promoted by it, and whether some were left out, of runs that others have locked.
        """
        if self._is_recent(self._swept_at, tally.now):
            return 0, False
        self._swept_at = tally.now
        self.keep_time(tx, tally)
        return self.take_back(tx, tally)

    def take_back(self, tx: Session, tally: Tally, *, waits: bool = False) -> tuple[int, bool]:
        """Take back what has expired; with *waits*, wait for runs that others have locked."""
        ended, left = self._engine.reclaim.expired(tx, tally, waits=waits)
        return self._engine.propagation.spread(tx, ended, tally) if ended else 0, left

    def keep_time(self, tx: Session, tally: Tally) -> None:
        """Leave a mark of the time, by which it is recognised should the clock be set back; see to it if it was."""
        if self._is_recent(self._timed_at, tally.now):
            return
        self._timed_at = tally.now
        stepped = self._engine.reclaim.keep_time(tx, tally.now)
        if stepped is not None:
            tally.tell_store("clock_stepped_back", {"microseconds": stepped})

    def next_at(self, seen: Glance, now: Micros) -> Micros | None:
        """Return when there is something to do, as far as a glance tells."""
        due = seen.expires_at
        if due is None or self._swept_at is None or not self._is_recent(self._swept_at, now):
            return due
        # A lease that expires between two sweeps waits for the next one; until then a pass would do nothing about it.
        return max(due, self._swept_at + self._interval)

    def _is_recent(self, at: Micros | None, now: Micros) -> bool:
        # A clock that went back makes nothing recent.
        return at is not None and at <= now < at + self._interval
