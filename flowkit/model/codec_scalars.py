"""Types that are one JSON scalar: str and its like as they are, dates, UUIDs, Enums and more in their text form."""

from __future__ import annotations

import base64
import math
import typing
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Literal, get_args, get_origin
from uuid import UUID
from zoneinfo import ZoneInfo

from flowkit.model.codec_hooks import Decode, Encode, Hooks, fixed, shown
from flowkit.model.codec_problems import Unfit, quoted, type_name, unfit

NONE = type(None)
_TEXT: frozenset[type] = frozenset({str})


def _native(cls: type, name: str, schema: str) -> Hooks:
    def check(value: Any) -> Any:
        if type(value) is cls:
            return value
        raise unfit(name, value)

    kinds = frozenset({cls})
    return Hooks(name, check, check, kinds, kinds, fixed(type=schema), plain=True)


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        # Only a whole number that a float can hold: 2**53 + 1 would come back as another number.
        if abs(value) <= 2**1023 and float(value) == value:
            return float(value)
        raise Unfit([("", "expected float, got an int that no float equals")])
    raise unfit("float", value)


def _coded(cls: type, to_json: Encode, from_json: Decode, *, json: Iterable[type] = _TEXT, **schema: Any) -> Hooks:
    name, takes = cls.__name__.replace("Posix", "").replace("Windows", ""), frozenset(json)

    def encode(value: Any) -> Any:
        if type(value) is cls:
            return to_json(value)
        raise unfit(name, value)

    def decode(value: Any) -> Any:
        if type(value) not in takes:
            raise unfit(name, value)
        try:
            return from_json(value)
        except Unfit:
            raise
        except Exception:
            raise Unfit([("", f"expected {name}, got {quoted(value)}")]) from None

    return Hooks(name, encode, decode, takes, frozenset({cls}), fixed(**({"type": "string"} | schema)))


def _datetime_to_json(value: datetime) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise Unfit([("", "a time zone without an offset would be lost")])
    return value.isoformat()


def _time_to_json(value: time) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise Unfit([("", "a time whose zone has no fixed offset would lose it")])
    return value.isoformat()


def _utc_offset(text: str) -> str:
    # Python 3.10 reads no "Z".
    return f"{text[:-1]}+00:00" if text.endswith(("Z", "z")) else text


_MANY_DAYS = 10**8


def _timedelta_to_json(value: timedelta) -> float:
    seconds = value.total_seconds()
    if abs(value.days) > _MANY_DAYS or timedelta(seconds=seconds) != value:
        raise Unfit([("", "a timedelta this long would lose microseconds")])
    return seconds


def _decimal_to_json(value: Decimal) -> str:
    if value.is_nan():
        raise Unfit([("", "NaN equals nothing, itself included, and is not stored")])
    return str(value)


def _zone_to_json(value: ZoneInfo) -> str:
    if value.key is None:
        raise Unfit([("", "a ZoneInfo without a key cannot be found again")])
    return value.key


_CODED = (
    _coded(datetime, _datetime_to_json, lambda text: datetime.fromisoformat(_utc_offset(text)), format="date-time"),
    _coded(date, date.isoformat, date.fromisoformat, format="date"),
    _coded(time, _time_to_json, lambda text: time.fromisoformat(_utc_offset(text)), format="time"),
    _coded(
        timedelta,
        _timedelta_to_json,
        lambda seconds: timedelta(seconds=seconds),
        json=(int, float),
        type="number",
        description="seconds",
    ),
    _coded(UUID, str, UUID, format="uuid"),
    _coded(Decimal, _decimal_to_json, Decimal),
    _coded(Fraction, str, Fraction),
    _coded(ZoneInfo, _zone_to_json, ZoneInfo),
    _coded(
        bytes,
        lambda value: base64.b64encode(value).decode(),
        lambda text: base64.b64decode(text, validate=True),
        contentEncoding="base64",
    ),
    _coded(type(PurePath()), str, PurePath),
    _coded(type(Path()), str, Path),
)

SCALARS: dict[Any, Hooks] = {
    str: _native(str, "str", "string"),
    int: _native(int, "int", "integer"),
    bool: _native(bool, "bool", "boolean"),
    NONE: _native(NONE, "None", "null"),
    float: Hooks(
        "float", _float, _float, frozenset({int, float}), frozenset({int, float}), fixed(type="number"), plain=False
    ),
    **{cls: hooks for hooks in _CODED for cls in hooks.python},
}
"""Hooks by annotation."""
# What returns never has no result either.
SCALARS.update(dict.fromkeys((None, typing.NoReturn, getattr(typing, "Never", None)), SCALARS[NONE]))
SCALARS.update({Path: SCALARS[type(Path())], PurePath: SCALARS[type(PurePath())]})
for _flavour in (PurePosixPath, PureWindowsPath):
    SCALARS.setdefault(_flavour, _coded(_flavour, str, _flavour))


def enum_hooks(cls: type[Enum]) -> Hooks:
    """Return the hooks of an Enum: its members' values where these are JSON scalars, else their names."""
    if issubclass(cls, Flag):
        return _coded(cls, lambda member: member.value, cls, json=(int,), type="integer")
    members = list(cls)
    by_value = all(_is_scalar(member.value) for member in members)
    texts = [member.value if by_value else member.name for member in members]
    return _choice(cls.__name__, list(zip(texts, members)), python=frozenset({cls}))


def literal_hooks(annotation: Any) -> Hooks:
    """Return the hooks of a ``Literal``."""
    pairs = []
    for value in get_args(annotation):
        json = value.value if isinstance(value, Enum) else value
        if not _is_scalar(json):
            raise TypeError(f"{shown(annotation)}: {value!r} is not a str, int, bool or None")
        pairs.append((json, value))
    return _choice(shown(annotation), pairs, python=frozenset(type(value) for _, value in pairs))


def is_literal(annotation: Any) -> bool:
    """Whether it is a ``Literal[...]``."""
    return get_origin(annotation) is Literal


def _choice(name: str, pairs: list[tuple[Any, Any]], *, python: frozenset[type]) -> Hooks:
    """Return the hooks of a type with these values only, given as pairs of JSON and value."""
    # The type belongs to the key: 1, 1.0 and True are equal, but different JSON.
    by_json = {(type(json), json): value for json, value in pairs}
    to_json = {(type(value), value): json for json, value in pairs}
    if len(by_json) != len(pairs):
        raise TypeError(f"{name}: two of its values are the same JSON")
    listed = ", ".join(quoted(json) for json, _ in pairs[:8]) + (", ..." if len(pairs) > 8 else "")
    expected = f"expected one of {listed}" if len(pairs) > 1 else f"expected {listed}"

    def encode(value: Any) -> Any:
        if type(value) in python and (type(value), value) in to_json:
            return to_json[type(value), value]
        raise unfit(name, value) if type(value) not in python else Unfit([("", told(value))])

    def decode(value: Any) -> Any:
        if _is_scalar(value) and (type(value), value) in by_json:
            return by_json[type(value), value]
        raise Unfit([("", told(value))])

    def told(value: Any) -> str:
        return f"{expected}, got {quoted(value) if _is_scalar(value) else type_name(value)}"

    choices = tuple(json for json, _ in pairs)
    kinds = frozenset(type(json) for json in choices)
    plain = all(json is value for json, value in pairs)
    return Hooks(name, encode, decode, kinds, python, fixed(enum=list(choices)), plain=plain, choices=choices)


def _is_scalar(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return type(value) in (str, int, bool, NONE)
