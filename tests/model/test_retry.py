"""How often a step is attempted, how long it waits in between, and which policies are nonsense."""

from __future__ import annotations

import math
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkit.clock import SECOND, micros
from flowkit.errors import ConfigError
from flowkit.model.retry import MAX_SECONDS, Retry

POLICIES = st.builds(
    lambda backoff, initial, extra, multiplier, jitter: Retry(
        backoff=backoff, initial=initial, maximum=initial + extra, multiplier=multiplier, jitter=jitter
    ),
    st.sampled_from(["exponential", "linear", "fixed"]),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(1e-6, 1e6, exclude_min=True),
    st.floats(0, 1),
)


def seconds(policy, *attempts):
    return [policy.delay_after(attempt) / SECOND for attempt in attempts]


def test_the_default_is_three_attempts_one_and_two_seconds_apart():
    assert Retry().max_attempts == 3
    assert seconds(Retry(), 1, 2) == [1, 2]


def test_a_delay_may_be_said_as_a_timedelta():
    policy = Retry(initial=timedelta(seconds=2), maximum=timedelta(minutes=5))
    assert policy == Retry(initial=2, maximum=300)


def test_exponential_delays_are_multiplied_up_to_the_maximum():
    assert seconds(Retry(initial=0.5, multiplier=3, maximum=10), 1, 2, 3, 4, 5) == [0.5, 1.5, 4.5, 10, 10]


def test_linear_delays_grow_by_the_multiplier_times_the_initial():
    assert seconds(Retry(backoff="linear", initial=2, multiplier=0.5, maximum=5), 1, 2, 3, 4, 5) == [2, 3, 4, 5, 5]


def test_fixed_delays_stay():
    assert seconds(Retry(backoff="fixed", initial=7), 1, 2, 100) == [7, 7, 7]


@given(POLICIES, st.integers(1, 1_000_000), st.floats(0, 1))
def test_a_delay_is_never_negative_and_never_above_the_maximum(policy, attempt, draw):
    delay = policy.delay_after(attempt, draw)
    assert isinstance(delay, int)
    assert 0 <= delay <= micros(policy.maximum)


@given(POLICIES, st.integers(1, 50), st.floats(0, 1))
def test_jitter_only_takes_away_and_at_most_its_share(policy, attempt, draw):
    whole = policy.delay_after(attempt)
    assert whole * (1 - policy.jitter) - 1 <= policy.delay_after(attempt, draw) <= whole


@given(st.floats(0.001, 100), st.floats(1, 10), st.integers(1, 30))
def test_the_exponential_delay_agrees_with_exact_arithmetic(initial, multiplier, attempt):
    policy = Retry(initial=initial, multiplier=multiplier, maximum=100_000)
    exact = min(Fraction(initial) * Fraction(multiplier) ** (attempt - 1), Fraction(100_000))
    assert abs(policy.delay_after(attempt) - exact * SECOND) <= 1 + exact * SECOND * Fraction(1, 10**12)


@given(POLICIES.filter(lambda policy: policy.multiplier >= 1), st.integers(1, 100))
def test_delays_never_shrink_from_one_attempt_to_the_next(policy, attempt):
    assert policy.delay_after(attempt) <= policy.delay_after(attempt + 1)


def test_a_delay_of_nothing_stays_nothing_however_often():
    assert seconds(Retry(max_attempts=5000, initial=0), 1, 2, 5000) == [0, 0, 0]


def test_a_millionth_attempt_waits_the_maximum_and_does_not_overflow():
    assert seconds(Retry(max_attempts=1_000_000, multiplier=1e6), 1_000_000) == [60]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", -1),
        ("max_attempts", 1.5),
        ("max_attempts", True),
        ("max_attempts", "3"),
        ("max_attempts", 1_000_001),
        ("backoff", "quadratic"),
        ("backoff", None),
        ("initial", -0.1),
        ("initial", math.nan),
        ("initial", 61.0),
        ("initial", "1"),
        ("maximum", math.inf),
        ("maximum", MAX_SECONDS + 1),
        ("maximum", 0.5),
        ("multiplier", 0),
        ("multiplier", -1),
        ("multiplier", math.nan),
        ("jitter", -0.1),
        ("jitter", 1.1),
        ("jitter", True),
        ("on", ("not a class",)),
        ("on", (int,)),
        ("on", 5),
    ],
)
def test_nonsense_is_refused_and_the_field_named(field, value):
    with pytest.raises(ConfigError, match=r"Retry: \w+: expected"):
        Retry(**{field: value})


@pytest.mark.parametrize("field", ["multiplier", "jitter"])
def test_a_factor_is_a_number_and_no_seconds(field):
    with pytest.raises(ConfigError, match=f"Retry: {field}: expected a number"):
        Retry(**{field: -1})


def test_the_refusal_names_the_field():
    with pytest.raises(ConfigError, match=r"^Retry: max_attempts: expected an int from 1 to 1000000, got 0$"):
        Retry(max_attempts=0)


class Teapot(Exception):
    """A user's own error."""

    class Small(Exception):
        """One defined inside another class."""


class Kettle(Teapot):
    """Derived from it."""


def test_listed_types_are_stored_by_name_once_and_in_order():
    assert Retry(on=(TimeoutError, OSError, TimeoutError)).on == ("builtins:OSError", "builtins:TimeoutError")
    assert Retry(on=OSError).on == ("builtins:OSError",)
    assert Retry(on=[Teapot.Small]).on == (f"{__name__}:Teapot.Small",)


def test_a_policy_equals_the_one_made_from_its_stored_names():
    policy = Retry(on=(OSError, Teapot))
    assert Retry(on=policy.on) == policy


def test_a_listed_type_and_those_derived_from_it_are_retried_and_no_other():
    policy = Retry(on=(Teapot,))
    assert policy.lists(Teapot())
    assert policy.lists(Kettle())
    assert not policy.lists(Teapot.Small())
    assert not policy.lists(ValueError())
    assert not Retry().lists(ValueError())
    assert Retry(on=(OSError,)).lists(ConnectionResetError())
