"""The JSON Schema that operators see agrees with what the codec takes."""

from __future__ import annotations

import dataclasses
import enum
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import attrs
import pytest
from typing_extensions import NotRequired

from flowkit.model.codec import Codec
from flowkit.model.definitions import ANY
from flowkit.model.schema import DIALECT

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Item:
    sku: str
    qty: int = 1
    tags: list[str] = attrs.field(factory=list)


@attrs.frozen
class Gift:
    card: str | None = None


@dataclasses.dataclass
class Node:
    name: str
    children: list[Node] = dataclasses.field(default_factory=list)


@attrs.frozen
class Box(Generic[T]):
    content: T


class Options(TypedDict):
    depth: int
    color: NotRequired[Color]


class Place(NamedTuple):
    x: int
    label: str = ""


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (datetime, {"type": "string", "format": "date-time"}),
        (date, {"type": "string", "format": "date"}),
        (timedelta, {"type": "number", "description": "seconds"}),
        (UUID, {"type": "string", "format": "uuid"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (Decimal, {"type": "string"}),
        (Path, {"type": "string"}),
        (Color, {"enum": ["red", "blue"]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (list, {"type": "array", "items": {}}),
        (set[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (
            tuple[int, str],
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
        ),
        (
            Place,
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 1, "maxItems": 2},
        ),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
    ],
    ids=str,
)
def test_the_schema_of_a_type(annotation, schema):
    assert Codec().schema(annotation) == {"$schema": DIALECT, **schema}


def test_a_class_is_an_object_that_takes_its_fields_only():
    assert Codec().schema(Item) == {
        "$schema": DIALECT,
        "$ref": "#/$defs/Item",
        "$defs": {
            "Item": {
                "type": "object",
                "title": "Item",
                "properties": {
                    "sku": {"type": "string"},
                    "qty": {"type": "integer", "default": 1},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["sku"],
                "additionalProperties": False,
            }
        },
    }


def test_a_typed_dict_marks_what_may_be_left_out():
    assert Codec().schema(Options)["$defs"]["Options"]["required"] == ["depth"]


def test_a_class_that_refers_to_itself_stands_there_once():
    schema = Codec().schema(list[Node])
    assert schema["items"] == {"$ref": "#/$defs/Node"}
    assert schema["$defs"]["Node"]["properties"]["children"] == {"type": "array", "items": {"$ref": "#/$defs/Node"}}


def test_classes_in_a_union_carry_their_tag():
    schema = Codec().schema(Item | Gift)
    assert schema["oneOf"] == [{"$ref": "#/$defs/Item"}, {"$ref": "#/$defs/Gift"}]
    assert schema["$defs"]["Gift"]["properties"]["_type"] == {"const": "Gift"}
    assert schema["$defs"]["Gift"]["required"] == ["_type"]


def test_two_classes_of_one_name_have_definitions_of_their_own():
    definitions = Codec().schema(tuple[Box[int], Box[str]])["$defs"]
    assert [body["properties"]["content"]["type"] for body in definitions.values()] == ["integer", "string"]


@pytest.mark.parametrize("annotation", [Any, ANY, object, complex, "Nowhere", list[complex]], ids=str)
def test_what_is_not_known_has_an_empty_schema(annotation):
    assert Codec().schema(annotation) == {}
