"""Types that become one JSON scalar, each with its pair of strict functions, and choices among scalars."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Flag
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID

from cattrs.fns import identity

from flowkit.model.codec_annotations import NONE, choices_of, kind_of, shown
from flowkit.model.codec_hooks import NATIVE, Hooks, Kinds, Unstructure, coded
from flowkit.model.codec_problems import Misfit, Unfit, quoted, unfit

_NUMBERS: Kinds = frozenset({int, float})
_SCALARS = (*NATIVE, float)


def _native(cls: type) -> Hooks:
    name = shown(cls)

    def structure(value: Any, _: Any) -> Any:
        if type(value) is cls:
            return value
        raise unfit(name, value)

    return Hooks(structure, identity, frozenset({cls}), frozenset({cls}))


def _float(value: Any, _: Any = None) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        # Only a whole number that a float can hold: 2**53 + 1 would come back as another number.
        if abs(value) <= 2**1023 and float(value) == value:
            return float(value)
        raise Unfit([("", "expected float, got an int that no float equals")])
    raise unfit("float", value)


def _float_or_as_it_is(value: Any) -> Any:
    try:
        return _float(value)
    except Unfit:
        return value


def _with_offset(value: Any) -> str:
    if value.tzinfo is not None:
        offset = value.utcoffset()
        if offset is None:
            raise ValueError(f"a {type(value).__name__} whose zone has no fixed offset would lose it")
        # Python writes an offset that is shorter than a second, and reads it as none.
        if offset and abs(offset) < timedelta(seconds=1):
            raise ValueError(f"a {type(value).__name__} whose offset is less than a second would lose it")
    return str(value.isoformat())


def _utc(text: str) -> str:
    # Python 3.10 reads no "Z".
    return f"{text[:-1]}+00:00" if text.endswith(("Z", "z")) else text


def _seconds(value: timedelta) -> float:
    seconds = value.total_seconds()
    if abs(value.days) > 10**8 or timedelta(seconds=seconds) != value:
        raise ValueError("a timedelta this long would lose microseconds")
    return seconds


def _decimal(value: Decimal) -> str:
    if value.is_nan():
        raise ValueError("NaN equals nothing, itself included, and is not stored")
    return str(value)


_TEXTS: tuple[tuple[Any, Unstructure, Callable[[Any], Any]], ...] = (
    (datetime, _with_offset, lambda text: datetime.fromisoformat(_utc(text))),
    (date, date.isoformat, date.fromisoformat),
    (time, _with_offset, lambda text: time.fromisoformat(_utc(text))),
    (bytes, lambda value: base64.b64encode(value).decode(), lambda text: base64.b64decode(text, validate=True)),
    (Decimal, _decimal, Decimal),
    *((cls, str, cls) for cls in (UUID, PurePosixPath, PureWindowsPath, type(Path()))),
)
SCALARS: dict[Any, Hooks] = {
    **{cls: _native(cls) for cls in (str, int, bool, NONE)},
    float: Hooks(_float, _float_or_as_it_is, _NUMBERS, _NUMBERS),
    timedelta: coded(timedelta, _NUMBERS, _seconds, lambda seconds: timedelta(seconds=seconds)),
    **{cls: coded(cls, frozenset({str}), *pair) for cls, *pair in _TEXTS},
}
"""Hooks by type."""
SCALARS |= {Path: SCALARS[type(Path())], PurePath: SCALARS[type(PurePath())]}


def choice(annotation: Any) -> Hooks:
    """Return the hooks of a ``Literal`` or an Enum.

    Raises:
        TypeError: one of its values is no JSON scalar, or two of them are the same.
    """
    if isinstance(annotation, type) and issubclass(annotation, Flag):
        return coded(annotation, frozenset({int}), lambda member: member.value, annotation)
    name, pairs = shown(annotation), choices_of(annotation)
    for json, value in pairs:
        if type(json) not in _SCALARS:
            raise TypeError(f"{name}: {value!r} is not a str, int, bool or None")
    # The type belongs to the key: 1, 1.0 and True are equal, but different JSON.
    by_json = {(type(json), json): value for json, value in pairs}
    to_json = {(type(value), value): json for json, value in pairs}
    if len(by_json) != len(pairs):
        raise TypeError(f"{name}: two of its values are the same JSON")
    listed = ", ".join(quoted(json) for json, _ in pairs[:8]) + (", ..." if len(pairs) > 8 else "")
    expected = f"expected one of {listed}" if len(pairs) > 1 else f"expected {listed}"
    python, is_enum = frozenset(type(value) for _, value in pairs), kind_of(annotation) == "enum"

    def structure(value: Any, _: Any) -> Any:
        if type(value) in _SCALARS and (type(value), value) in by_json:
            return by_json[type(value), value]
        if is_enum and type(value) is Misfit:
            raise unfit(name, value)
        raise Unfit([("", f"{expected}, got {quoted(value)}")])

    def unstructure(value: Any) -> Any:
        return to_json.get((type(value), value), Misfit(value)) if type(value) in python else Misfit(value)

    choices = tuple(json for json, _ in pairs)
    return Hooks(structure, unstructure, frozenset(map(type, choices)), python, choices)
