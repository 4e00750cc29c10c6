"""The token bucket keeps its promise exactly, whatever the clock does."""

from __future__ import annotations

import math
from fractions import Fraction

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowkit.clock import SECOND
from flowkit.errors import ConfigError
from flowkit.model.limits import BACKWARD_TOLERANCE, QueueConfig, RateLimit, TokenBucket

NOW = 1_700_000_000 * SECOND
LIMITS = st.builds(RateLimit, st.floats(0.001, 5_000) | st.sampled_from([0.001, 1, 0.3, 1_000_000]), st.integers(1, 50))
STEPS = st.lists(
    st.tuples(st.integers(0, 3 * SECOND) | st.integers(0, 3_000) | st.integers(0, 2_000 * SECOND), st.integers(0, 60)),
    max_size=40,
)


@attrs.define
class ExactBucket:
    """The same bucket in fractions: nothing is rounded."""

    limit: RateLimit
    tokens: Fraction
    at: int

    def refill(self, now):
        rate = Fraction(self.limit.milli_per_second, 1000 * SECOND)
        self.tokens = min(Fraction(self.limit.burst), self.tokens + rate * max(0, now - self.at))
        self.at = max(self.at, now)


def empty(limit):
    return TokenBucket.full(limit, NOW).take(limit.burst)


def moved(bucket, exact, elapsed, wanted):
    """Move both on by *elapsed* and start as many steps as asked for and allowed; return the bucket and the count."""
    now = exact.at + elapsed
    bucket = bucket.refill(now)
    exact.refill(now)
    started = min(wanted, bucket.whole)
    exact.tokens -= started
    return bucket.take(started), started


@given(LIMITS, STEPS)
def test_the_bucket_holds_exactly_what_unrounded_arithmetic_says(limit, steps):
    bucket, exact = TokenBucket.full(limit, NOW), ExactBucket(limit, Fraction(limit.burst), NOW)
    for elapsed, wanted in steps:
        bucket, _ = moved(bucket, exact, elapsed, wanted)
        assert bucket.whole == exact.tokens // 1


@given(LIMITS, STEPS)
def test_in_every_window_at_most_a_burst_and_the_rate_start(limit, steps):
    bucket, exact, starts = TokenBucket.full(limit, NOW), ExactBucket(limit, Fraction(limit.burst), NOW), []
    for elapsed, wanted in steps:
        bucket, started = moved(bucket, exact, elapsed, wanted)
        starts.append((exact.at, started))
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            window = Fraction(starts[last][0] - starts[first][0], SECOND)
            allowed = limit.burst + Fraction(limit.rate_per_second) * window
            assert sum(count for _, count in starts[first : last + 1]) <= allowed + Fraction(1, 10**6)


@given(LIMITS, STEPS)
def test_asking_often_mints_as_much_as_asking_once(limit, steps):
    often = once = empty(limit)
    now = NOW
    for elapsed, _ in steps:
        now += elapsed
        often = often.refill(now)
    assert often.whole == once.refill(now).whole
    assert often.next_at() == once.refill(now).next_at()


@given(LIMITS, STEPS, st.integers(0, 5_000))
@settings(max_examples=200)
def test_the_promised_instant_is_the_first_with_a_whole_token(limit, steps, spent):
    bucket, exact = TokenBucket.full(limit, NOW), ExactBucket(limit, Fraction(limit.burst), NOW)
    for elapsed, wanted in steps:
        bucket, _ = moved(bucket, exact, elapsed, wanted)
    bucket = bucket.take(min(bucket.whole, spent))
    at = bucket.next_at()
    if bucket.whole:
        assert at <= max(bucket.refilled_at, exact.at)
    else:
        assert bucket.refill(at).whole >= 1
        assert bucket.refill(at - 1).whole == 0


@given(LIMITS, st.integers(0, 10**9))
def test_a_jump_ahead_mints_one_burst_at_most(limit, seconds):
    assert empty(limit).refill(NOW + seconds * SECOND).whole <= limit.burst


@given(LIMITS, st.integers(0, 100), st.integers(1, 10**9 * SECOND))
def test_a_clock_that_steps_back_mints_nothing(limit, taken, step):
    bucket = TokenBucket.full(limit, NOW).take(min(taken, limit.burst))
    assert bucket.refill(NOW - step).whole == bucket.whole


@given(LIMITS, st.integers(1, BACKWARD_TOLERANCE))
def test_a_clock_that_was_slewed_back_a_little_and_recovers_mints_nothing_twice(limit, step):
    assert empty(limit).refill(NOW - step).refill(NOW) == empty(limit)


def test_a_clock_that_was_set_back_goes_on_from_there():
    back = empty(RateLimit(10, burst=5)).refill(NOW - 3600 * SECOND)
    assert back.whole == 0
    assert back.refill(NOW - 3599 * SECOND).whole == 5


def test_a_token_more_than_there_is_cannot_be_taken():
    bucket = TokenBucket.full(RateLimit(1, burst=2), NOW)
    assert bucket.take(2).whole == 0
    with pytest.raises(ValueError, match="cannot take 3 of 2 tokens"):
        bucket.take(3)


def test_a_full_bucket_serves_its_burst_at_once_and_then_the_rate():
    bucket = TokenBucket.full(RateLimit(2, burst=3), NOW).take(3)
    assert bucket.next_at() == NOW + SECOND // 2
    assert bucket.refill(NOW + SECOND).whole == 2


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, "5", True, None, 0.0009, 1_000_001])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ConfigError, match="RateLimit: rate_per_second: expected a number from 0.001 to 1000000, got"):
        RateLimit(rate)


@pytest.mark.parametrize("burst", [0, -1, 1.5, True, None, "1"])
def test_a_burst_that_is_none_is_refused(burst):
    with pytest.raises(ConfigError, match="RateLimit: burst: expected an int from 1 to 1000000, got"):
        RateLimit(1, burst)


@pytest.mark.parametrize("workers", [0, -1, True, 2.0, "2"])
def test_a_queue_has_at_least_one_worker_or_no_limit(workers):
    assert QueueConfig().max_workers is None
    with pytest.raises(ConfigError, match="QueueConfig: max_workers: expected None or an int"):
        QueueConfig(max_workers=workers)


def test_a_queues_rate_limit_is_a_rate_limit():
    with pytest.raises(ConfigError, match="QueueConfig: rate_limit: expected None or a RateLimit, got 5"):
        QueueConfig(rate_limit=5)
