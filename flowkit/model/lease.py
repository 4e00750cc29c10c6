"""A worker's time-limited right to run and settle one step, and the arithmetic of its expiry."""

from __future__ import annotations

import attrs

from flowkit.clock import Micros


@attrs.frozen
class Lease:
    """The right to settle one attempt; ``epoch`` and ``token`` prove it in every write.

    Attributes:
        worker_id: who holds it.
        token: random bits drawn for it.
        epoch: how many times this step has been leased; it only grows.
        acquired_at: the engine's time of the lease.
        expires_at: when it may be reclaimed unless it is extended.
    """

    worker_id: str
    token: str
    epoch: int
    acquired_at: Micros
    expires_at: Micros

    def is_expired(self, now: Micros) -> bool:
        """Whether another worker may reclaim the step."""
        return self.expires_at <= now


def extend_every(lease_seconds: float) -> float:
    """Return how often, in seconds, a lease is extended: three chances before it expires."""
    return lease_seconds / 3


def trusted_for(lease_seconds: float) -> float:
    """Return how long after its last extension a holder may trust its lease, on its own monotonic clock.

    A margin of a sixth is kept back, so that a worker that cannot reach the store stops before another one starts.
    """
    return lease_seconds * 5 / 6
