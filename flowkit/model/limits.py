"""Limits of a queue: how many steps at once, and a token bucket that counts in integers."""

from __future__ import annotations

import math

import attrs

from flowkit.clock import SECOND, Micros
from flowkit.errors import ConfigError

MILLI = 1000
NANO = 1_000_000_000
BACKWARD_TOLERANCE: Micros = 5 * SECOND
"""A clock that steps back by more than this has been set, not slewed."""


@attrs.frozen
class RateLimit:
    """At most *rate_per_second* starts a second on average, and *burst* at once.

    Attributes:
        rate_per_second: 0.001 to 1,000,000; what is finer than a thousandth is rounded down.
        burst: 1 to 1,000,000.

    Raises:
        ConfigError: a value out of range.
    """

    rate_per_second: float
    burst: int = 1

    def __attrs_post_init__(self) -> None:
        rate = self.rate_per_second
        number = isinstance(rate, (int, float)) and not isinstance(rate, bool) and -math.inf < rate < math.inf
        if not number or not 0.001 <= rate <= 1_000_000:
            raise ConfigError(f"RateLimit: rate_per_second: expected a number from 0.001 to 1000000, got {rate!r}")
        if isinstance(self.burst, bool) or not isinstance(self.burst, int) or not 1 <= self.burst <= 1_000_000:
            raise ConfigError(f"RateLimit: burst: expected an int from 1 to 1000000, got {self.burst!r}")

    @property
    def milli_per_second(self) -> int:
        """The rate in whole milli-tokens a second, rounded down so that the promise holds."""
        return int(self.rate_per_second * MILLI + 1e-9)


@attrs.frozen
class QueueConfig:
    """The limits of one queue, held across every worker of a store.

    Attributes:
        max_workers: steps of the queue that may run at once; None is no limit but each Runtime's own.
        rate_limit: a token bucket that every start takes a token from; None is no limit.
    """

    max_workers: int | None = None
    rate_limit: RateLimit | None = None

    def __attrs_post_init__(self) -> None:
        limit = self.max_workers
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1_000_000):
            raise ConfigError(f"QueueConfig: max_workers: expected None or an int from 1 to 1000000, got {limit!r}")
        if self.rate_limit is not None and not isinstance(self.rate_limit, RateLimit):
            raise ConfigError(f"QueueConfig: rate_limit: expected None or a RateLimit, got {self.rate_limit!r}")


@attrs.frozen
class TokenBucket:
    """A token bucket at one instant.

    What a rate in milli-tokens a second mints in a microsecond is a whole number of nano-tokens, so counting those
    loses no fraction and mints none twice, however often the bucket is asked.
    """

    limit: RateLimit
    tokens_nano: int
    refilled_at: Micros

    @classmethod
    def full(cls, limit: RateLimit, now: Micros) -> TokenBucket:
        """Return a full bucket."""
        return cls(limit, limit.burst * NANO, now)

    def refill(self, now: Micros) -> TokenBucket:
        """Return the bucket as it is at *now*; a step back mints nothing, a jump forward at most a burst."""
        elapsed = now - self.refilled_at
        if elapsed < -BACKWARD_TOLERANCE:
            return attrs.evolve(self, refilled_at=now)
        if elapsed <= 0:
            return self
        minted = elapsed * self.limit.milli_per_second
        return TokenBucket(self.limit, min(self.tokens_nano + minted, self.limit.burst * NANO), now)

    @property
    def whole(self) -> int:
        """How many steps may start right now."""
        return max(0, self.tokens_nano // NANO)

    def take(self, count: int) -> TokenBucket:
        """Return the bucket after *count* starts."""
        if count > self.whole:
            raise ValueError(f"cannot take {count} of {self.whole} tokens")
        return attrs.evolve(self, tokens_nano=self.tokens_nano - count * NANO)

    def next_at(self) -> Micros:
        """Return the earliest instant at which one whole token is there."""
        missing = max(0, NANO - self.tokens_nano)
        return self.refilled_at + -(-missing // self.limit.milli_per_second)
