"""When a worker looks for leases that have run out, and by which clock."""

from __future__ import annotations

from flowkit.clock import SECOND, Micros, micros
from flowkit.model.limits import BACKWARD_TOLERANCE
from flowkit.store.database import Session
from flowkit.store.engine import Engine
from flowkit.store.glances import Glance
from flowkit.store.tally import Tally


class Sweeper:
    """Takes back expired leases, a few times a lease and not in each of 1,000 passes a second.

    Args:
        lease: how long this worker's leases last.
    """

    def __init__(self, engine: Engine, lease: Micros) -> None:
        self._engine = engine
        self._clock = engine.db.clock
        self._lease_seconds = lease / SECOND
        self._shown: tuple[Micros, float] | None = None
        self._first_to_expire: tuple[Micros, float] | None = None
        self._distrusts = False
        self._interval = min(lease // 10, SECOND)
        self._swept_at: Micros | None = None
        self._timed_at: Micros | None = None

    def sweep(self, tx: Session, tally: Tally) -> bool:
        """Take back what has expired, unless that was looked at just now.

        Returns whether some of it was left out, of runs that others have locked.
        """
        self.keep_time(tx, tally)
        if self._is_recent(self._swept_at, tally.now) and not self._distrusts:
            return False
        self._swept_at = tally.now
        return self.take_back(tx, tally)

    def take_back(self, tx: Session, tally: Tally, *, waits: bool = False) -> bool:
        """Take back what has expired; with *waits*, wait for runs that others have locked."""
        ended, left = self._engine.reclaim.expired(tx, tally, waits=waits)
        if ended:
            self._engine.propagation.spread(tx, ended, tally)
        return left

    def keep_time(self, tx: Session, tally: Tally) -> None:
        """Leave a mark of the time, by which it is recognised should the clock be set back; see to it if it was."""
        now = tally.now
        self._watch(now)
        if self._is_recent(self._timed_at, now) and not self._distrusts:
            return
        tx.after_commit(lambda: self._kept(now))
        stepped = self._engine.reclaim.keep_time(tx, now, distrusts=self._distrusts)
        if stepped is not None:
            tally.stirred = True
            tally.tell_store("clock_stepped_back", {"microseconds": stepped})

    def next_at(self, seen: Glance, now: Micros) -> Micros | None:
        """Return when there is something to do, as far as a glance tells."""
        self._watch(now)
        self._watch_lease(seen.expires_at, now)
        # By a clock that was set back, leases and delays would end when it is there again. What it did before this
        # worker began, a first pass tells from the mark.
        if self._distrusts or (self._timed_at is None and seen.due_at is not None):
            return now
        due = seen.expires_at
        if due is None or self._swept_at is None or not self._is_recent(self._swept_at, now):
            return due
        # A lease that expires between two sweeps waits for the next one; until then a pass would do nothing about it.
        return max(due, self._swept_at + self._interval)

    def _watch(self, now: Micros) -> None:
        # A clock that fell behind the one that never steps was set back. A mark that is ahead is no reason for a pass:
        # it may be of a worker whose clock is ahead, for as long as both run.
        monotonic = self._clock.monotonic()
        if self._shown is not None:
            shown, at = self._shown
            if micros(monotonic - at) - (now - shown) > BACKWARD_TOLERANCE:
                self._distrusts = True
        self._shown = (now, monotonic)

    def _watch_lease(self, expires_at: Micros | None, now: Micros) -> None:
        # Whoever lives extends its leases well before a whole one has passed, whatever its clock shows. One that was
        # not, and has not expired, was left by a worker that died before the clock was set back, or lasts longer.
        monotonic, known = self._clock.monotonic(), self._first_to_expire
        if expires_at is None or expires_at <= now:
            self._first_to_expire = None
        elif known is None or known[0] != expires_at:
            self._first_to_expire = (expires_at, monotonic)
        elif monotonic - known[1] > self._lease_seconds:
            self._distrusts = True

    def _kept(self, now: Micros) -> None:
        self._timed_at, self._distrusts, self._first_to_expire = now, False, None

    def _is_recent(self, at: Micros | None, now: Micros) -> bool:
        # A clock that went back makes nothing recent.
        return at is not None and at <= now < at + self._interval
