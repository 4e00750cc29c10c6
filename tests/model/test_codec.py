"""Typed values become JSON and come back equal, or they are refused with the path of what does not fit."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import json
import sys
import typing
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from threading import Barrier
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import cattrs
import pytest
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import NotRequired, Required

from flowkit.errors import InvalidInput, Permanent, RunConflict
from flowkit.model import gate
from flowkit.model.codec import Codec
from flowkit.model.definitions import ANY

T = TypeVar("T")
Number = TypeVar("Number", int, str)
UserId = NewType("UserId", int)


class Color(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Shape(enum.Enum):
    """Values that are no JSON, so the names stand for them."""

    ROUND = (1, 2)
    FLAT = object()


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@attrs.frozen
class Hello:
    message: str


@attrs.frozen
class Item:
    sku: str
    qty: int
    price: float = 1.0
    color: Color | None = None


@attrs.frozen
class Order:
    id: UUID
    items: list[Item]
    placed: datetime | None = None
    notes: dict[str, Any] = attrs.field(factory=dict)


@dataclasses.dataclass
class Node:
    name: str
    children: list[Node] = dataclasses.field(default_factory=list)
    twin: Node | None = None


class Options(TypedDict):
    depth: int
    color: NotRequired[Color]


class Loose(TypedDict, total=False):
    depth: Required[int]
    tags: set[str]


class Place(NamedTuple):
    x: int
    when: date
    label: str = "here"


@attrs.frozen
class Box(Generic[T]):
    content: T
    more: list[T] | None = None


@attrs.frozen
class IntBox(Box[int]):
    lid: bool = False


@attrs.frozen
class Spot:
    x: int
    y: int


@attrs.frozen
class Disc:
    center: Spot
    radius: float


@attrs.define(eq=False)
class Faceless:
    x: int


@attrs.frozen
class Private:
    _secret: str
    kind_: str = attrs.field(alias="kind", default="a")


OFFSETS = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).filter(
    lambda offset: not offset or abs(offset) >= timedelta(seconds=1)
)
DATETIMES = st.datetimes(timezones=st.none() | st.builds(timezone, OFFSETS))
QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
INTS = st.integers(gate.MIN_INT, gate.MAX_INT)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | INTS | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ITEMS = st.builds(Item, TEXT, INTS, FLOATS, st.none() | st.sampled_from(Color))
NODES = st.recursive(st.builds(Node, TEXT), lambda inner: st.builds(Node, TEXT, st.lists(inner, max_size=3), inner))
VALUES: list[tuple[Any, Any]] = [
    (str, TEXT),
    (int, INTS),
    (bool, st.booleans()),
    (float, FLOATS),
    (None, st.none()),
    (bytes, st.binary()),
    (datetime, DATETIMES),
    (date, st.dates()),
    (time, st.times(timezones=st.none() | st.just(timezone.utc))),
    (timedelta, st.timedeltas(timedelta(days=-90_000), timedelta(days=90_000))),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False)),
    (Path, st.lists(st.text("ab. /", min_size=1)).map(lambda parts: Path(*parts))),
    (PurePosixPath, st.just(PurePosixPath("/a/b"))),
    (PureWindowsPath, st.just(PureWindowsPath("C:\\a"))),
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (Shape, st.sampled_from(Shape)),
    (Access, st.sampled_from([Access.READ, Access.READ | Access.WRITE, Access(0)])),
    (Literal["a", 1, True, None, Color.RED], st.sampled_from(["a", 1, True, None, Color.RED])),
    (UserId, INTS.map(UserId)),
    (Annotated[int, "unit", []], INTS),
    (Hello, st.builds(Hello, TEXT)),
    (Order, st.builds(Order, st.uuids(), st.lists(ITEMS, max_size=3), DATETIMES, st.dictionaries(TEXT, JSON))),
    (Node, NODES),
    (Options, st.fixed_dictionaries({"depth": INTS}, optional={"color": st.sampled_from(Color)})),
    (Loose, st.fixed_dictionaries({"depth": INTS}, optional={"tags": st.sets(TEXT, max_size=3)})),
    (Place, st.builds(Place, INTS, st.dates(), TEXT)),
    (Box[int], st.builds(Box, INTS, st.none() | st.lists(INTS, max_size=3))),
    (Box[Hello], st.builds(Box, st.builds(Hello, TEXT), st.lists(st.builds(Hello, TEXT), max_size=3))),
    (Box, st.builds(Box, JSON)),
    (IntBox, st.builds(IntBox, INTS, st.none(), st.booleans())),
    (Private, st.builds(Private, TEXT)),
    (list[date], st.lists(st.dates(), max_size=3)),
    (list, st.lists(JSON, max_size=3)),
    (tuple[int, ...], st.lists(INTS, max_size=3).map(tuple)),
    (tuple[int, str, Color], st.tuples(INTS, TEXT, st.sampled_from(Color))),
    (tuple[()], st.just(())),
    (tuple, st.lists(JSON, max_size=3).map(tuple)),
    (typing.Tuple, st.lists(JSON, max_size=3).map(tuple)),  # noqa: UP006
    (set[str], st.sets(TEXT, max_size=3)),
    (frozenset[UUID], st.frozensets(st.uuids(), max_size=3)),
    (set[tuple[int, int]], st.sets(st.tuples(INTS, INTS), max_size=3)),
    (dict[str, int], st.dictionaries(TEXT, INTS)),
    (dict[int, str], st.dictionaries(st.integers(), TEXT)),
    (dict[float, int], st.dictionaries(FLOATS, INTS)),
    (dict[bool, int], st.dictionaries(st.booleans(), INTS)),
    (dict[Color, Item], st.dictionaries(st.sampled_from(Color), ITEMS)),
    (dict[Level, int], st.dictionaries(st.sampled_from(Level), INTS)),
    (
        dict[date, dict[UUID, list[Spot]]],
        st.dictionaries(st.dates(), st.dictionaries(st.uuids(), st.lists(st.builds(Spot, INTS, INTS), max_size=3))),
    ),
    (dict, st.dictionaries(TEXT, JSON)),
    (collections.abc.Sequence[int], st.lists(INTS, max_size=3)),
    (collections.abc.Iterable[Item], st.lists(ITEMS, max_size=3)),
    (collections.abc.Mapping[str, Item], st.dictionaries(TEXT, ITEMS)),
    (collections.abc.Set[int], st.sets(INTS, max_size=3)),
    (int | None, st.none() | INTS),
    (Optional[Item], st.none() | ITEMS),  # noqa: UP045
    (Union[int, str], INTS | TEXT),
    (int | float | bool | str | None, INTS | FLOATS | st.booleans() | TEXT | st.none()),
    (float | int, INTS | FLOATS),
    (Literal["auto"] | int | float, st.just("auto") | INTS | FLOATS),
    (Literal["auto"] | datetime, st.just("auto") | DATETIMES),
    (bytes | list[int] | Item | None, st.binary() | st.lists(INTS, max_size=3) | ITEMS | st.none()),
    (Spot | Disc, st.builds(Spot, INTS, INTS) | st.builds(Disc, st.builds(Spot, INTS, INTS), FLOATS)),
    (list[Spot | Disc | str | None], st.lists(st.builds(Spot, INTS, INTS) | TEXT | st.none(), max_size=3)),
    (Any, JSON),
    (ANY, JSON),
    (object, JSON),
    (Any | None, JSON),
]


@pytest.mark.parametrize(
    ("annotation", "values"), VALUES, ids=lambda value: None if isinstance(value, st.SearchStrategy) else str(value)
)
def test_what_comes_out_equals_what_went_in(annotation, values):
    codec = Codec()
    encode, decode = codec.encoder(annotation, "input", gate.INPUT_LIMIT), codec.decoder(annotation, "input")

    @QUICK
    @given(values)
    def comes_back(value):
        back = decode(encode(value))
        assert back == value
        assert type(back) is type(value)
        assert codec.structure(value, annotation) == value
        assert codec.structure(gate.loads(encode(value)), annotation) == value

    comes_back()


@QUICK
@given(st.sets(TEXT | INTS))
def test_equal_sets_become_equal_text(value):
    codec = Codec()
    # A set filled in another order may iterate in another order.
    other = set()
    for element in sorted(value, key=str, reverse=True):
        other.add(element)
    assert codec.encode(other, set[Any]) == codec.encode(value, set[Any])


def test_a_datetime_keeps_its_instant_and_offset_and_a_naive_one_stays_naive():
    codec = Codec()
    zoned = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Zurich"))
    assert codec.encode(zoned, datetime) == b'"2024-07-01T12:00:00+02:00"'
    assert codec.decode(codec.encode(zoned, datetime), datetime) == zoned
    assert codec.decode(b'"2024-07-01T12:00:00"', datetime).tzinfo is None
    assert codec.decode(b'"2024-07-01T12:00:00Z"', datetime) == datetime(2024, 7, 1, 12, tzinfo=timezone.utc)


def test_classes_without_equality_keep_their_fields():
    codec = Codec()
    assert codec.decode(codec.encode(Faceless(5), Faceless), Faceless).x == 5


def test_classes_in_a_union_are_told_apart_by_their_name():
    assert json.loads(Codec().encode(Spot(1, 2), Spot | Disc)) == {"_type": "Spot", "x": 1, "y": 2}


NOT_TAKEN = [
    (int, '"5"', "expected int, got str"),
    (int, "5.9", "expected int, got float"),
    (int, "5.0", "expected int, got float"),
    (int, "true", "expected int, got bool"),
    (int, "null", "expected int, got None"),
    (float, '"5"', "expected float, got str"),
    (float, "true", "expected float, got bool"),
    (float, "9007199254740993", "expected float, got an int that no float equals"),
    (bool, "1", "expected bool, got int"),
    (bool, '"yes"', "expected bool, got str"),
    (str, "5", "expected str, got int"),
    (str, "null", "expected str, got None"),
    (None, "0", "expected None, got int"),
    (bytes, '"not base64!"', "expected bytes, got 'not base64!'"),
    (datetime, "1700000000", "expected datetime, got int"),
    (datetime, '"yesterday"', "expected datetime, got 'yesterday'"),
    (date, '"2024-13-01"', "expected date, got '2024-13-01'"),
    (timedelta, '"1h"', "expected timedelta, got str"),
    (UUID, '"5"', "expected UUID, got '5'"),
    (Decimal, "1.5", "expected Decimal, got float"),
    (Decimal, '"a"', "expected Decimal, got 'a'"),
    (Path, "5", "expected Path, got int"),
    (Color, '"green"', "expected one of 'red', 'blue', got 'green'"),
    (Level, "true", "expected one of 1, 2, got True"),
    (Level, "1.0", "expected one of 1, 2, got 1.0"),
    (Level, "[1]", "expected one of 1, 2, got list"),
    (Access, "8", "expected Access, got 8"),
    (Literal[1], "true", "expected 1, got True"),
    (Literal["a", "b"], '"c"', "expected one of 'a', 'b', got 'c'"),
    (list[int], '"12"', "expected list, got str"),
    (list[int], '{"0": 1}', "expected list, got dict"),
    (tuple[int, ...], "5", "expected list, got int"),
    (tuple[int, int], "[1]", "expected 2 elements, got 1"),
    (Place, "[1]", "expected 3 elements, got 1"),
    (set[int], "[1, 1]", "expected the elements of a set, got one of them twice"),
    (dict[str, int], "[]", "expected dict, got list"),
    (Hello, '"x"', "expected Hello, got str"),
    (Options, "[]", "expected Options, got list"),
    (int | None, '"5"', "expected int, got str"),
    (int | str, "5.5", "expected int | str, got float"),
    (int | str, "[]", "expected int | str, got list"),
    (Spot | Disc, "[]", "expected Spot | Disc, got list"),
]


@pytest.mark.parametrize(("annotation", "text", "message"), NOT_TAKEN, ids=lambda value: str(value))
def test_json_of_another_type_is_never_converted(annotation, text, message):
    with pytest.raises(InvalidInput) as caught:
        Codec().decode(text.encode(), annotation, "input")
    assert str(caught.value) == f"input $: {message}"


def test_a_float_takes_a_whole_number():
    value = Codec().decode(b"5", float)
    assert value == 5.0
    assert type(value) is float
    assert Codec().encode(5, float) == b"5.0"


@attrs.frozen
class Page:
    url: str
    size: int = 0


@attrs.frozen
class Book:
    title: str
    pages: list[Page]
    extra: dict[str, Spot] = attrs.field(factory=dict)
    span: tuple[date, date] | None = None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"title": "t", "pages": [{"url": "a"}, {"url": "b"}, {"url": "c"}, {"url": 5}]}',
            "input $.pages[3].url: expected str, got int",
        ),
        ('{"title": "t", "pages": [{"size": 1}]}', "input $.pages[0].url: required field is missing"),
        (
            '{"title": "t", "pages": [], "spam": 1}',
            "input $.spam: unknown field, expected one of title, pages, extra, span; did you mean 'span'?",
        ),
        (
            '{"title": "t", "pages": [], "extra": {"a": {"x": 1, "y": 1}, "b c": 5}}',
            'input $.extra["b c"]: expected Spot, got int',
        ),
        ('{"title": "t", "pages": [], "span": ["2024-01-01", "x"]}', "input $.span[1]: expected date, got 'x'"),
        (
            '{"titel": "t", "pages": [{"url": 1, "size": "2"}]}',
            (
                "input $.title: required field is missing; "
                "input $.pages[0].url: expected str, got int; input $.pages[0].size: expected int, got str; "
                "input $.titel: unknown field, expected one of title, pages, extra, span; did you mean 'title'?"
            ),
        ),
    ],
)
def test_every_path_that_does_not_fit_is_named(text, message):
    with pytest.raises(InvalidInput) as caught:
        Codec().decode(text.encode(), Book)
    assert str(caught.value) == message


def test_at_most_ten_paths_are_named():
    with pytest.raises(InvalidInput) as caught:
        Codec().decode(json.dumps(["x"] * 1000).encode(), list[int])
    assert str(caught.value).count("expected int") == 10
    assert str(caught.value).endswith("; and more")


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (Hello(message=5), Hello, "input $.message: expected str, got int"),
        (Book("t", [Page("a"), Page(None)]), Book, "input $.pages[1].url: expected str, got None"),
        ({"message": "x"}, Hello, "input $: expected Hello, got dict"),
        (Item("a", 1), Hello, "input $: expected Hello, got Item"),
        (IntBox(1), Box[int], "input $: expected Box, got IntBox"),
        ("5", int, "input $: expected int, got str"),
        (True, int, "input $: expected int, got bool"),
        (Level.LOW, int, "input $: expected int, got Level"),
        (Color.RED, str, "input $: expected str, got Color"),
        ("red", Color, "input $: expected Color, got str"),
        ((1, 2), list[int], "input $: expected list, got tuple"),
        ((1, 2), collections.abc.Sequence[int], "input $: expected list (a Sequence comes back as one), got tuple"),
        ([1, 2], tuple[int, ...], "input $: expected tuple, got list"),
        (Place(1, date(2024, 1, 1)), tuple[int, ...], "input $: expected tuple, got Place"),
        ({1}, frozenset[int], "input $: expected frozenset, got set"),
        ({"a": 1, "b": 2}, Options, "input $.depth: required field is missing; input $.a: unknown field"),
        ({"depth": 1, "color": "red"}, Options, "input $.color: expected Color, got str"),
        ({"1": "a"}, dict[int, str], 'input $["1"]: in the key: expected int, got str'),
        ({1: "a"}, dict[str, str], "input $: in the key: expected str, got int"),
        (float("nan"), float, "input $: NaN is not JSON"),
        ({float("nan"): 1}, dict[float, int], "input $: in the key: ValueError: Out of range float values"),
        (Decimal("nan"), Decimal, "input $: NaN equals nothing"),
        (2**53 + 1, float, "input $: expected float, got an int that no float equals"),
        (2**70, int, "input $: an int beyond 64 bits"),
        ({"when": date(2024, 1, 1)}, dict[str, Any], "input $.when: date is not JSON: annotate it"),
        ([(1, 2)], Any, "input $[0]: tuple is not JSON: annotate it or return a list"),
        (Order(UUID(int=1), [], notes={"a": {1}}), Order, "input $.notes.a: set is not JSON"),
        (time(1, tzinfo=ZoneInfo("Europe/Zurich")), time, "input $: a time whose zone has no fixed offset"),
        (
            datetime(2024, 1, 1, tzinfo=timezone(timedelta(microseconds=1))),
            datetime,
            "input $: a datetime whose offset is less than a second",
        ),
        (timedelta.max, timedelta, "input $: a timedelta this long"),
        (datetime(2024, 1, 1, tzinfo=timezone.utc), date, "input $: expected date, got datetime"),
        (5.5, int | str, "input $: expected int | str, got float"),
        (Hello("x"), Spot | Disc | None, "input $: expected Spot | Disc | None, got Hello"),
    ],
    ids=lambda value: None,
)
def test_a_value_that_does_not_fit_its_annotation_is_refused_where_it_is_given(value, annotation, message):
    with pytest.raises(InvalidInput) as caught:
        Codec().encode(value, annotation)
    assert str(caught.value).startswith(message)


class Stop(BaseException):
    """What no ``except Exception`` catches."""


class Loud:
    """Raises whatever is asked of it."""

    def __repr__(self):
        raise Stop("repr")

    __str__ = __repr__

    def __eq__(self, other):
        raise ValueError("eq")

    __hash__ = None


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        int,
        float,
        date,
        Color,
        Literal["a"],
        list[int],
        dict[str, int],
        Item,
        Options,
        Place,
        int | str,
        Spot | Disc,
        Any,
    ],
    ids=str,
)
def test_hostile_values_are_refused_without_touching_them(annotation):
    for value in (Loud(), [Loud()], {"depth": Loud()}):
        for convert in (Codec().encode, Codec().structure):
            with pytest.raises(InvalidInput):
                convert(value, annotation)


def test_a_value_that_contains_itself_is_refused():
    node = Node("a")
    node.children += [node, node]
    node.twin = node
    with pytest.raises(InvalidInput, match="contains itself, or is nested too deeply"):
        Codec().encode(node, Node)


def test_the_limit_counts_what_is_stored():
    with pytest.raises(InvalidInput, match=r"result: 1,014 bytes of JSON, the limit is 1,000"):
        Codec().encode(Hello("x" * 1000), Hello, "result", 1000)


# --- structure: instances, plain JSON, and both


def test_structure_takes_a_dict_for_a_class_and_instances_inside_it():
    made = Codec().structure(
        {"title": "t", "pages": [Page("a"), {"url": "b"}], "span": (date(2024, 1, 1), date(2024, 1, 2))}, Book
    )
    assert made == Book("t", [Page("a"), Page("b")], {}, (date(2024, 1, 1), date(2024, 1, 2)))


def test_structure_takes_typed_keys_as_they_are_and_as_text():
    codec = Codec()
    assert codec.structure({1: "a", "2": "b"}, dict[int, str]) == {1: "a", 2: "b"}
    with pytest.raises(InvalidInput, match="two of its keys are the same"):
        codec.structure({1: "a", "1": "b"}, dict[int, str])


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (Hello(5), Hello, "input $.message: expected str, got int"),
        ({"message": 5}, Hello, "input $.message: expected str, got int"),
        ({"title": "t", "pages": [Hello("x")]}, Book, "input $.pages[0]: expected Page, got Hello"),
        ({"title": "t", "pages": [Page(5)]}, Book, "input $.pages[0].url: expected str, got int"),
        ({1: 2}, Hello, "input $.message: required field is missing; input $: expected fields named by str"),
        ((1, 2), Any, "input $: tuple is not JSON"),
        ({"a": float("nan")}, dict[str, float], "input $.a: NaN is not JSON"),
    ],
    ids=lambda value: None,
)
def test_structure_is_as_strict(value, annotation, message):
    with pytest.raises(InvalidInput) as caught:
        Codec().structure(value, annotation)
    assert str(caught.value).startswith(message)


# --- classes that do something of their own when they are made


@attrs.frozen
class Checked:
    age: int = attrs.field(validator=attrs.validators.ge(0))


@attrs.define
class Derived:
    x: int
    double: int = attrs.field(init=False)

    def __attrs_post_init__(self):
        self.double = self.x * 2


@attrs.define
class Growing:
    x: int = attrs.field(converter=lambda x: x + 1)


@attrs.frozen
class Lowered:
    name: str = attrs.field(converter=str.lower)


def test_a_validator_is_obeyed_and_its_path_named():
    with pytest.raises(InvalidInput, match=r"input \$\[1\]: ValueError: 'age' must be >= 0: -5"):
        Codec().decode(b'[{"age": 1}, {"age": -5}]', list[Checked])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Permanent("no_such_page", "page 7 is missing"), "Permanent: no_such_page: page 7 is missing"),
        (RunConflict("book-1", "other input"), "RunConflict: run 'book-1' exists already with other input"),
        (TypeError("expected a page", "x", int), "TypeError: expected a page"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_validator_raises_is_told_in_its_own_words(error, told):
    @attrs.frozen
    class Page:
        number: int = attrs.field()

        @number.validator
        def refuse(self, attribute, value):
            raise error

    with pytest.raises(InvalidInput) as caught:
        Codec().structure({"number": 7}, Page)
    assert told in str(caught.value)


def test_what_a_class_computes_by_itself_comes_back():
    codec = Codec()
    assert codec.decode(codec.encode(Derived(2), Derived), Derived) == Derived(2)
    assert codec.decode(codec.encode(Lowered("A"), Lowered), Lowered) == Lowered("a")


def test_what_would_come_back_otherwise_is_refused_when_it_is_given():
    changed = Derived(2)
    changed.double = 5
    with pytest.raises(InvalidInput, match=r"\$\[0\]\.double: has init=False and would not come back"):
        Codec().encode([changed], list[Derived])
    with pytest.raises(InvalidInput, match=r"\$\.x: would come back changed by its own class"):
        Codec().encode(Growing(1), Growing)


# --- annotations that cannot be stored are refused when they are declared


@dataclasses.dataclass
class NeedsMore:
    x: int
    more: dataclasses.InitVar[int]


@attrs.frozen
class Callback:
    call: collections.abc.Callable[[], int]


@attrs.frozen
class Unresolved:
    there: Nowhere  # noqa: F821


@attrs.frozen
class TagTaken:
    tag: str = attrs.field(alias="_type")


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (collections.abc.Callable[[], int], "Callable[[], int]: a function cannot be stored"),
        (Callback, "Callback.call: Callable[[], int]: a function cannot be stored"),
        (list[typing.IO[str]], "IO[str]: an open file cannot be stored; pass its Path"),
        (typing.BinaryIO, "BinaryIO: an open file cannot be stored"),
        (collections.abc.Iterator[int], "Iterator[int]: an iterator cannot be stored; make it a list"),
        (complex, "complex: it has no JSON form; use an attrs class or a dataclass"),
        (list[int] | list[str], "list[int] and list[str] are both list in JSON"),
        (str | Color, "are both str in JSON, so one could come back as the other"),
        (datetime | str, "are both str in JSON"),
        (Literal["1"] | Decimal, "are both str in JSON"),
        (float | timedelta, "are both float in JSON"),
        (Spot | dict[str, int], "Spot and dict[str, int] are both object in JSON"),
        (Options | Loose, "are both object in JSON"),
        (Any | Spot, "plain JSON cannot be told apart"),
        (Box[int] | Box[str], "two classes are called Box"),
        (Spot | TagTaken, "TagTaken has a field '_type'"),
        (dict[Any, int], "keys need a type, such as str or int"),
        (dict[tuple[int, int], int], "keys must be scalars in JSON"),
        (dict[int | str, int], "keys must be scalars in JSON"),
        (Literal[b"x"], "b'x' is not a str, int, bool or None"),
        (NeedsMore, "InitVar"),
        (Unresolved, "Unresolved: an annotation cannot be resolved: name 'Nowhere' is not defined"),
        ("Somewhere", "the annotation 'Somewhere' is not resolved"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_annotation_that_cannot_be_stored_is_refused_with_the_reason(annotation, reason):
    codec = Codec()
    for _ in range(2):
        with pytest.raises(TypeError) as caught:
            codec.check(annotation)
        assert reason in str(caught.value)


@pytest.mark.parametrize("annotation", [annotation for annotation, _ in VALUES], ids=str)
def test_an_annotation_that_can_be_stored_passes_the_check(annotation):
    Codec().check(annotation)


@attrs.frozen
class Left:
    right: Right | None
    bad: complex


@attrs.frozen
class Right:
    left: Left | None


def test_a_class_that_names_a_refused_one_stays_refused():
    codec = Codec()
    for annotation in (Left, Right, Left, Right):
        with pytest.raises(TypeError, match="complex"):
            codec.check(annotation)


def test_what_was_made_on_the_way_to_a_refusal_stays_usable():
    codec = Codec()
    with pytest.raises(TypeError, match="keys must be scalars"):
        codec.check(dict[Node, int])
    value = Node("a", [Node("b")])
    assert codec.decode(codec.encode(value, Node), Node) == value


# --- the user's own hooks


class Money:
    def __init__(self, amount: int, currency: str):
        self.amount, self.currency = amount, currency

    def __eq__(self, other):
        return (self.amount, self.currency) == (other.amount, other.currency)

    def __hash__(self):
        return hash((self.amount, self.currency))


@attrs.frozen
class Invoice:
    total: Money
    tips: list[Money | None]
    lines: int = 0


@attrs.frozen
class Renamed:
    page_count: int
    color: Color = Color.RED


def money_converter():
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Money, lambda money: f"{money.amount} {money.currency}")
    converter.register_structure_hook(Money, lambda text, _: Money(int(text.split()[0]), text.split()[1]))
    return converter


def test_the_hooks_of_a_converter_are_used_for_its_types():
    codec = Codec(money_converter())
    invoice = Invoice(Money(5, "EUR"), [None, Money(1, "CHF")])
    body = codec.encode(invoice, Invoice)
    assert json.loads(body) == {"total": "5 EUR", "tips": [None, "1 CHF"], "lines": 0}
    assert codec.decode(body, Invoice) == invoice
    assert codec.structure({"total": Money(5, "EUR"), "tips": []}, Invoice) == Invoice(Money(5, "EUR"), [])
    assert codec.schema(Money) == {}


def test_everything_else_stays_strict_and_errors_of_hooks_get_their_path():
    with pytest.raises(InvalidInput) as caught:
        Codec(money_converter()).decode(b'{"total": "x EUR", "tips": [], "lines": "5"}', Invoice)
    assert str(caught.value) == (
        "input $.total: ValueError: invalid literal for int() with base 10: 'x'; input $.lines: expected int, got str"
    )


def test_hooks_never_leak_in_or_out():
    converter = money_converter()
    codec = Codec(converter)
    converter.register_structure_hook(Money, lambda text, _: None)
    assert codec.decode(b'"5 EUR"', Money) == Money(5, "EUR")
    assert converter.structure("5", int) == 5
    with pytest.raises(TypeError, match="Money: it has no JSON form"):
        Codec().check(Money)


def test_a_type_with_hooks_of_its_own_can_be_in_no_union_but_with_none():
    codec = Codec(money_converter())
    codec.check(Money | None)
    with pytest.raises(TypeError, match="what Money looks like in JSON is known to its own hooks only"):
        codec.check(Money | int)


def test_a_half_registered_type_is_refused():
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Money, str)
    with pytest.raises(TypeError, match="Money: it has no JSON form"):
        Codec(converter).check(Money)


def test_fields_renamed_with_cattrs_are_as_strict_inside():
    converter = cattrs.Converter()
    rename = override(rename="pageCount")
    converter.register_structure_hook_factory(
        lambda cls: cls is Renamed, lambda cls, used: make_dict_structure_fn(cls, used, page_count=rename)
    )
    converter.register_unstructure_hook_factory(
        lambda cls: cls is Renamed, lambda cls, used: make_dict_unstructure_fn(cls, used, page_count=rename)
    )
    codec = Codec(converter)
    assert json.loads(codec.encode([Renamed(5)], list[Renamed])) == [{"pageCount": 5, "color": "red"}]
    assert codec.decode(b'[{"pageCount": 5}]', list[Renamed]) == [Renamed(5)]
    with pytest.raises(InvalidInput, match=r"input \$\[0\].page_count: expected int, got str"):
        codec.decode(b'[{"pageCount": "5"}]', list[Renamed])
    with pytest.raises(InvalidInput, match=r"input \$.pageCount: required field is missing"):
        codec.decode(b"{}", Renamed)


# --- models of other libraries


def test_pydantic_models_go_by_their_own_json_mode():
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        x: int
        when: datetime
        hidden: int = pydantic.Field(default=0, exclude=True)

    codec = Codec()
    value = Model(x=1, when=datetime(2024, 1, 1, tzinfo=timezone.utc))
    assert codec.decode(codec.encode([value], list[Model]), list[Model]) == [value]
    assert codec.structure({"x": 1, "when": "2024-01-01T00:00:00Z"}, Model) == value
    assert json.loads(codec.encode(value, Model | Spot))["_type"] == "Model"
    with pytest.raises(InvalidInput, match=r"input \$\[0\].x: .*valid integer.*input \$\[0\].when: Field required"):
        codec.decode(b'[{"x": "1"}]', list[Model])
    with pytest.raises(InvalidInput, match="would come back changed"):
        codec.encode(Model(x=1, when=datetime(2024, 1, 1, tzinfo=timezone.utc), hidden=5), Model)


def test_msgspec_structs_go_by_their_own_json_mode():
    msgspec = pytest.importorskip("msgspec")
    model = msgspec.defstruct("Model", [("x", int), ("day", date)])
    codec = Codec()
    value = model(1, date(2024, 1, 1))
    assert codec.decode(codec.encode([value], list[model]), list[model]) == [value]
    assert codec.structure({"x": 1, "day": "2024-01-01"}, model) == value
    with pytest.raises(InvalidInput, match=r"input \$\[0\].x: Expected `int`, got `str`"):
        codec.decode(b'[{"x": "1", "day": "2024-01-01"}]', list[model])
    with pytest.raises(InvalidInput, match="would come back changed|Expected `int`"):
        codec.encode(model("1", date(2024, 1, 1)), model)


def test_many_threads_may_use_a_codec_for_the_first_time_at_once():
    value, threads, usual = Node("a", [Node("b")], Node("c")), 8, sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads meet while the hooks of a class are being made
    try:
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(20):
                codec, together = Codec(), Barrier(threads)

                def encode(codec: Codec = codec, together: Barrier = together) -> bytes:
                    together.wait()
                    return codec.encode(value, Node)

                bodies = [future.result() for future in [pool.submit(encode) for _ in range(threads)]]
                assert {codec.decode(body, Node).twin.name for body in bodies} == {"c"}
    finally:
        sys.setswitchinterval(usual)


def test_text_that_is_no_json_is_an_invalid_input():
    with pytest.raises(InvalidInput, match="input: not JSON: JSONDecodeError"):
        Codec().decode(b"{", int)
