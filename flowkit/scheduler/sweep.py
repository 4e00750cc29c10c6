"""When a worker looks for leases that have run out, and by which clock."""

from __future__ import annotations

from flowkit.clock import SECOND, Micros, micros
from flowkit.model.limits import BACKWARD_TOLERANCE
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
        self._clock = engine.db.clock
        self._seen: tuple[Micros, float] | None = None
        # What the clock did before this worker looked at it, nobody has told it.
        self._distrusts = True
        self._interval = min(lease // 10, SECOND)
        self._swept_at: Micros | None = None
        self._timed_at: Micros | None = None

    def sweep(self, tx: Session, tally: Tally) -> tuple[int, bool]:
        """Take back what has expired, unless that was looked at just now.

        Returns how many steps were promoted by it, and whether some were left out, of runs that others have locked.
        """
        self._watch(tally.now)
        if self._is_recent(self._swept_at, tally.now) and not self._distrusts:
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
        self._watch(tally.now)
        if self._is_recent(self._timed_at, tally.now) and not self._distrusts:
            return
        self._timed_at = tally.now
        if self._distrusts:
            tx.after_commit(self._trust)
        stepped = self._engine.reclaim.keep_time(tx, tally.now, distrusts=self._distrusts)
        if stepped is not None:
            tally.tell_store("clock_stepped_back", {"microseconds": stepped})

    def next_at(self, seen: Glance, now: Micros) -> Micros | None:
        """Return when there is something to do, as far as a glance tells."""
        self._watch(now)
        due = seen.expires_at
        if self._distrusts and (due is not None or seen.due_at is not None):
            # By a clock that was set back, the leases and delays of others would end when it is there again.
            return now
        if due is None or self._swept_at is None or not self._is_recent(self._swept_at, now):
            return due
        # A lease that expires between two sweeps waits for the next one; until then a pass would do nothing about it.
        return max(due, self._swept_at + self._interval)

    def _watch(self, now: Micros) -> None:
        # A mark that is ahead may come from a worker whose clock is ahead, for as long as both run; a clock that fell
        # behind the one that never steps was set back. So a mark alone is no reason for a pass.
        monotonic = self._clock.monotonic()
        if self._seen is not None:
            shown, at = self._seen
            if max(0, micros(monotonic - at)) - (now - shown) > BACKWARD_TOLERANCE:
                self._distrusts = True
        self._seen = (now, monotonic)

    def _trust(self) -> None:
        self._distrusts = False

    def _is_recent(self, at: Micros | None, now: Micros) -> bool:
        # A clock that went back makes nothing recent.
        return at is not None and at <= now < at + self._interval
