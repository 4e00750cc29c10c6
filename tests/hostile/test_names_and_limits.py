"""Names, delays and token buckets against what the manual says of them, ten thousand cases each."""

from __future__ import annotations

import unicodedata
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import strategies as st

from flowkit.clock import SECOND
from flowkit.model.limits import RateLimit, TokenBucket
from flowkit.model.names import MAX_LENGTH, joined, name_problem, shortened
from flowkit.model.retry import Retry
from flowkit.projection_files import file_name
from tests.hostile.values import ANYTHING, CHARACTERS, ten_thousand

pytestmark = pytest.mark.timeout(600)  # ten thousand cases take seconds, on a loaded machine a minute
NAMES = st.one_of(
    st.text(CHARACTERS, max_size=12), st.text(st.sampled_from("ab "), min_size=195, max_size=205), ANYTHING
)


def is_name(value: Any, *, spaces: bool) -> bool:
    """Whether a value is a name, by the words of the manual."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_LENGTH or value != value.strip():
        return False
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
        return False
    return spaces or not any(character.isspace() for character in value)


@ten_thousand(names=NAMES)
def test_a_name_is_what_the_manual_says_and_can_be_stored_shown_and_made_a_file(names: list[Any]) -> None:
    files: dict[str, str] = {}
    for name in names:
        for spaces in (True, False):
            assert (name_problem(name, spaces=spaces) is None) == is_name(name, spaces=spaces)
        if not is_name(name, spaces=True):
            continue
        name.encode()
        assert len(name.splitlines()) == 1
        file = file_name(name)
        assert PurePosixPath(file).name == file
        assert set(file) <= set("abcdefghijklmnopqrstuvwxyz0123456789%_-~.")
        assert len(file) <= 255
        assert files.setdefault(file.casefold(), name) == name


@ten_thousand(
    pairs=st.tuples(
        st.lists(st.text(CHARACTERS, max_size=4).map(lambda t: t.encode("utf-8", "ignore").decode()), max_size=3),
        st.text(CHARACTERS, max_size=250),
    )
)
def test_joined_and_shortened_ids_never_meet(pairs: list[tuple[list[str], str]]) -> None:
    seen: dict[str, tuple[str, ...]] = {}
    for parts, text in pairs:
        if parts:
            assert seen.setdefault(joined(*parts), tuple(parts)) == tuple(parts)
        short = shortened(text)
        assert len(short) <= MAX_LENGTH
        assert (short == text) == (len(text) <= MAX_LENGTH)


POLICIES = st.builds(
    lambda backoff, initial, more, multiplier, jitter: Retry(
        backoff=backoff, initial=initial, maximum=initial + more, multiplier=multiplier, jitter=jitter
    ),
    st.sampled_from(["exponential", "linear", "fixed"]),
    st.floats(0, 1e5),
    st.floats(0, 1e6),
    st.floats(1e-3, 1e3),
    st.floats(0, 1),
)


@ten_thousand(cases=st.tuples(POLICIES, st.integers(1, 1_000_000), st.floats(0, 1)))
def test_a_computed_delay_lies_between_what_jitter_leaves_and_the_maximum(
    cases: list[tuple[Retry, int, float]],
) -> None:
    for policy, attempt, draw in cases:
        most, delay = policy.delay_after(attempt), policy.delay_after(attempt, draw)
        assert type(delay) is int
        assert 0 <= delay <= most <= round(policy.maximum * SECOND)
        assert delay >= int(most * (1 - policy.jitter)) - 1


LIMITS = st.builds(RateLimit, st.one_of(st.floats(0.001, 1e6), st.integers(1, 1000)), st.integers(1, 1000))
ASKED = st.lists(st.tuples(st.integers(-8 * SECOND, 20 * SECOND), st.integers(0, 5)), min_size=1, max_size=6)


@ten_thousand(cases=st.tuples(LIMITS, ASKED))
def test_a_token_bucket_holds_what_exact_arithmetic_says(
    cases: list[tuple[RateLimit, list[tuple[int, int]]]],
) -> None:
    """The model counts in fractions: what is minted, kept to the burst, and taken; a step back mints nothing."""
    for limit, asked in cases:
        rate = Fraction(limit.milli_per_second, 1000 * SECOND)
        # A float may lie a little below what was written, as 1.001 does.
        assert -1e-8 <= Fraction(limit.rate_per_second) * 1000 - limit.milli_per_second <= 1
        bucket, level, since, now = TokenBucket.full(limit, 0), Fraction(limit.burst), 0, 0
        for step, wanted in asked:
            now += step
            bucket = bucket.refill(now)
            if now - since < -5 * SECOND:
                since = now
            elif now > since:
                level, since = min(Fraction(limit.burst), level + (now - since) * rate), now
            assert Fraction(bucket.tokens_nano, 10**9) == level
            assert bucket.whole == level // 1
            taken = min(wanted, bucket.whole)
            bucket, level = bucket.take(taken), level - taken
            due = bucket.next_at()
            assert due == since if level >= 1 else level + (due - since) * rate >= 1 > level + (due - 1 - since) * rate
