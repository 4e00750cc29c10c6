"""Values that nobody should hand to a library, and some that are all right; drawn in handfuls, which is faster."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

T = TypeVar("T", bound=Callable[..., Any])
CASES = 10_000
HANDFUL = 25


def ten_thousand(**handfuls: st.SearchStrategy[Any]) -> Callable[[T], T]:
    """Call a test with handfuls of 25 values each, 10,000 in all, the same ones in every run.

    What fails is not made smaller, which would take minutes: tests say which of the values it was.
    """

    def decorate(test: T) -> T:
        many = {name: st.lists(one, min_size=HANDFUL, max_size=HANDFUL) for name, one in handfuls.items()}
        limits = settings(
            max_examples=CASES // HANDFUL,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        return limits(given(**many)(test))  # type: ignore[return-value]

    return decorate


class Spiteful:
    """Raises whatever is asked of it."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __hash__ = __len__ = __iter__ = __bool__ = __eq__ = __repr__  # type: ignore[assignment]


class Word(str):
    """Looks like a str, and is none."""


class Count(int):
    """Looks like an int, and is none."""


class Pair(NamedTuple):
    """Looks like a tuple."""

    one: int = 1
    other: int = 2


CHARACTERS = st.one_of(
    st.sampled_from("aAzé/\\.~%:;'\"-_ \t\n\r\0\x1b\x7f\u200b\u2028\u202e\ud800\udfff\U0001f600ß"),
    st.characters(),
)
TEXTS = st.text(CHARACTERS, max_size=8)
INTS = st.one_of(
    st.integers(-(2**70), 2**70), st.sampled_from([0, 1, -1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**400])
)
FLOATS = st.one_of(
    st.floats(), st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308])
)
GOOD_LEAVES = st.one_of(st.none(), st.booleans(), INTS, FLOATS, TEXTS)
BAD_LEAVES = st.sampled_from(
    [(), (1,), {1}, frozenset(), b"x", bytearray(), 1j, Decimal(1), object(), Word("x"), Count(1), Pair(), int, len]
)
LEAVES = st.one_of(GOOD_LEAVES, GOOD_LEAVES, GOOD_LEAVES, BAD_LEAVES)
SPITEFUL = st.one_of(LEAVES, st.builds(Spiteful))
KEYS = st.one_of(TEXTS, TEXTS, TEXTS, st.sampled_from([1, None, True, 1.5, (), Word("k"), b"k"]))
JSONISH = st.recursive(
    SPITEFUL,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)
ANYTHING = st.one_of(
    LEAVES,
    st.lists(GOOD_LEAVES, max_size=2),
    st.dictionaries(TEXTS, GOOD_LEAVES, max_size=2),
    st.sampled_from([[], {}, "", " ", "x" * 300, "a/b", "..", "exponential", 0.5, 1, 3, 10.0, lambda: None, Exception]),
)
