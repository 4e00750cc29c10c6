"""What may be stored as JSON, what is refused, and how the refusal says where."""

from __future__ import annotations

import enum
import json
import math

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowkit.errors import InvalidInput
from flowkit.model import gate

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NASTY_TEXT = st.text(max_size=8) | st.text(
    max_size=8, alphabet=["\0", "\ud800", "\udfff", "\\", "u", "0", "a", '"', "\u2028"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**62, 2**65)
    | st.floats()
    | NASTY_TEXT
    | st.binary(max_size=2)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(NASTY_TEXT | st.integers(0, 3) | st.none(), inner, max_size=4)
    ),
    max_leaves=12,
)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
EXACT = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(gate.MIN_INT, gate.MAX_INT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def identical(one, other):
    """Equal, with equal types all the way down: 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(identical(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(identical, one, other))
    return one == other and (not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other))


def survives_json(value):
    """Whether the standard library's JSON hands it back as it was, in text that every database takes."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
        back = json.loads(text)
    except (TypeError, ValueError):
        return False
    return identical(value, back) and "\0" not in repr_of_strings(value) and ints_fit(value)


def repr_of_strings(value):
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(map(repr_of_strings, [*value, *value.values()]))
    return "".join(map(repr_of_strings, value)) if isinstance(value, list) else ""


def ints_fit(value):
    if isinstance(value, dict):
        return all(map(ints_fit, value.values()))
    if isinstance(value, list):
        return all(map(ints_fit, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def refusal(value, where="result"):
    with pytest.raises(InvalidInput) as caught:
        gate.check(value, where)
    return str(caught.value)


@QUICK
@given(ANYTHING)
def test_the_gate_takes_exactly_what_comes_back_from_json_as_it_was(value):
    if survives_json(value):
        gate.check(value, "result")
    else:
        assert refusal(value).startswith("result $")


@QUICK
@given(EXACT)
def test_what_passes_is_read_back_identical(value):
    assert identical(gate.loads(gate.dumps(value, "result", gate.RESULT_LIMIT)), value)


@QUICK
@given(EXACT)
def test_both_json_libraries_mean_the_same(value):
    orjson = gate.find_orjson()
    if orjson is None:
        pytest.skip("orjson is not installed")
    for writer, reader in [(gate.STDLIB, orjson), (orjson, gate.STDLIB)]:
        assert identical(reader.loads(writer.dumps(value)), value)
    assert gate.canonical(orjson.dumps(value)) == gate.canonical(gate.STDLIB.dumps(value))


class Colour(str, enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


class Stop(BaseException):
    """What no ``except Exception`` catches."""


class Hostile:
    """Raises whatever is asked of it."""

    def __repr__(self):
        raise Stop("repr")

    __str__ = __repr__

    def __eq__(self, other):
        raise ValueError("eq")

    __hash__ = None


class Secretive(dict):
    """Claims to be empty."""

    def __iter__(self):
        return iter(())

    def items(self):
        return ()


@attrs.frozen
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "result $: NaN is not JSON"),
        (math.inf, "result $: Infinity is not JSON"),
        ([1, -math.inf], "result $[1]: -Infinity is not JSON"),
        (2**63, "result $: an int beyond 64 bits"),
        (-(2**63) - 1, "result $: an int beyond 64 bits"),
        ("a\0b", "result $: the character U+0000"),
        ("\ud800", "result $: the lone surrogate U+D800"),
        ({"k\udc00": 1}, 'result $["k\\udc00"]: in the key: the lone surrogate U+DC00'),
        ({1: "a"}, "result $: keys are str, got int"),
        ({None: 1, "a": {True: 2}}, "result $: keys are str, got NoneType"),
        ((1, 2), "result $: tuple is not JSON: annotate it or return a list"),
        ({1, 2}, "result $: set is not JSON: annotate it or return a list"),
        (b"raw", "result $: bytes is not JSON"),
        (Point(1), "result $: Point is not JSON: annotate it"),
        (Colour.RED, "result $: Colour is not JSON: annotate it"),
        (Text("a"), "result $: Text is not JSON"),
        (Secretive(a=1), "result $: Secretive is not JSON"),
        ((n for n in "ab"), "result $: generator is not JSON"),
        (print, "result $: builtin_function_or_method is not JSON"),
        ({"a": [Hostile()]}, "result $.a[0]: Hostile is not JSON"),
        ({"items": [{}, {"price": math.nan}]}, "result $.items[1].price: NaN is not JSON"),
        ({"a b": math.nan}, 'result $["a b"]: NaN is not JSON'),
    ],
)
def test_a_refusal_says_where_and_why(value, message):
    assert refusal(value).startswith(message)


def test_several_problems_are_told_at_once():
    told = refusal({"a": math.nan, "b": [(), 1]})
    assert told == "result $.a: NaN is not JSON; result $.b[0]: tuple is not JSON: annotate it or return a list"


def test_at_most_ten_problems_are_told():
    told = refusal([math.nan] * 50)
    assert told.count("NaN") == 10
    assert told.endswith("; and more")


def test_a_value_that_contains_itself_is_refused_with_its_path():
    value = {"list": []}
    value["list"].append(value)
    assert refusal(value) == "result $.list[0]: contains itself"


def test_the_same_list_in_two_places_is_no_cycle():
    shared = [1]
    assert gate.dumps([shared, shared], "result", 100) == b"[[1],[1]]"


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["lists", "objects"])
def test_a_hundred_levels_are_taken_and_one_more_is_refused(wrap):
    value = 1
    for _ in range(gate.MAX_DEPTH):
        value = wrap(value)
    gate.check(value, "result")
    assert "nested deeper than 100" in refusal(wrap(value))


def test_depth_is_refused_however_deep():
    value = []
    for _ in range(100_000):
        value = [value]
    assert "nested deeper than 100" in refusal(value)


def test_a_few_lists_that_stand_for_millions_are_refused_in_no_time():
    value = [1]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(InvalidInput, match=r"metadata: more than 16,384 bytes of JSON, the limit is 16,384 \(16 KiB\)"):
        gate.dumps(value, "metadata", gate.METADATA_LIMIT)
    assert refusal([math.nan, value]) == "result $[0]: NaN is not JSON"


def test_the_size_limit_counts_bytes_and_is_named():
    assert gate.dumps("ä" * 510, "metadata", 1024)
    with pytest.raises(InvalidInput, match=r"metadata: 1,026 bytes of JSON, the limit is 1,024 \(1 KiB\)"):
        gate.dumps("ä" * 512, "metadata", 1024)


def test_a_backslash_that_only_looks_like_nul_is_kept():
    assert gate.loads(gate.dumps("\\u0000", "result", 100)) == "\\u0000"


def test_text_is_stored_as_utf_8_without_spaces():
    assert gate.dumps({"a": ["ä", None]}, "result", 100) == '{"a":["ä",null]}'.encode()


@QUICK
@given(EXACT)
def test_equal_values_have_one_canonical_text_whatever_their_order_and_spacing(value):
    spaced = json.dumps(value, indent=3).encode()
    assert gate.canonical(spaced) == gate.canonical(gate.dumps(reordered(value), "input", gate.RESULT_LIMIT))


def reordered(value):
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return list(map(reordered, value)) if isinstance(value, list) else value


def test_canonical_text_keeps_int_and_float_apart():
    assert gate.canonical(b"[1]") != gate.canonical(b"[1.0]")


@QUICK
@given(EXACT)
def test_foreign_text_is_read_as_it_stands(value):
    assert identical(gate.parse(json.dumps(value, indent=1), "input", gate.INPUT_LIMIT), value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": 2, "a": 3}', 'input: not JSON: ValueError: the key "a" is there twice'),
        ("{", "input: not JSON: JSONDecodeError"),
        (b"\xff", "input: not JSON: UnicodeDecodeError"),
        ("[NaN]", "input $[0]: NaN is not JSON"),
        ("1e999", "input $: Infinity is not JSON"),
        ("99999999999999999999", "input $: an int beyond 64 bits"),
        ('"\\ud800"', "input $: the lone surrogate U+D800"),
        ('"\\u0000"', "input $: the character U+0000"),
        ("[" * 200_000, "input: not JSON: RecursionError"),
        ("[" * 101 + "]" * 101, "nested deeper than 100"),
    ],
    ids=lambda text: str(text)[:20],
)
def test_foreign_text_is_as_strict_and_its_keys_are_distinct(text, message):
    with pytest.raises(InvalidInput) as caught:
        gate.parse(text, "input", gate.INPUT_LIMIT)
    assert message in str(caught.value)
