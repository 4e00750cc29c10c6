"""The JSON gate: what may be stored is exact JSON within stated limits, the same for every database."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Collection, Iterator
from typing import Any

import attrs

from flowkit.errors import InvalidInput
from flowkit.model.codec_problems import MAX_PROBLEMS, Problem, described, key_step, refusal

KIB = 1024
MIB = 1024 * KIB
INPUT_LIMIT = 1 * MIB
RESULT_LIMIT = 8 * MIB
RECORD_LIMIT = 1 * MIB
ARTIFACT_LIMIT = 1 * MIB
METADATA_LIMIT = 16 * KIB
"""The largest JSON text of each, in bytes of UTF-8 (for an artifact: the largest inline body)."""

MAX_DEPTH = 100
"""How many lists and objects may be inside each other."""
MIN_INT, MAX_INT = -(2**63), 2**63 - 1

_SIMPLE = frozenset({str, bool, type(None)})


@attrs.frozen
class Engine:
    """A JSON library: *dumps* gives compact UTF-8 of a value that was checked, *loads* reads such text."""

    name: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False, allow_nan=False).encode
_sorted = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False, sort_keys=True).encode
_decode = json.JSONDecoder().decode

STDLIB = Engine("json", lambda value: _encode(value).encode(), lambda body: _decode(body.decode()))


def find_orjson() -> Engine | None:
    """Return the engine of orjson, where it is installed."""
    try:
        orjson: Any = importlib.import_module("orjson")
    except ImportError:
        return None
    return Engine("orjson", orjson.dumps, orjson.loads)


# Both write every value that passes the walk so that it reads back equal; orjson is faster on large ones.
ENGINE = find_orjson() or STDLIB


class _Refused(Exception):
    """The walk met something that is no JSON."""


class _TooLarge(Exception):
    """The walk met more values than fit the limit in bytes."""


def check(value: Any, where: str) -> None:
    """Refuse a value that is not exactly JSON.

    Accepted are None, bool, str, list, dict with str keys, int of 64 bits and finite float, of exactly these types.

    Raises:
        InvalidInput: the message names each path and what is wrong there.
    """
    dumps(value, where, RESULT_LIMIT)


def dumps(value: Any, where: str, limit: int) -> bytes:
    """Check a value and return it as compact JSON in UTF-8.

    Args:
        value: what to store.
        where: what it is, as the first word of messages: ``input``, ``result``.
        limit: the largest size, in bytes.

    Raises:
        InvalidInput: it is not exactly JSON, or too large.
    """
    try:
        _walk(value, limit, MAX_DEPTH)
        body = ENGINE.dumps(value)
    except _TooLarge:
        raise _too_large(where, f"more than {limit:,}", limit) from None
    except Exception:
        raise refusal(where, _problems(value) or [("", "no exact JSON, or changed while it was read")]) from None
    if len(body) > limit:
        raise _too_large(where, f"{len(body):,}", limit)
    if b"\\u0000" in body and (problems := _problems(value)):
        raise refusal(where, problems)
    return body


def loads(body: bytes) -> Any:
    """Read back what ``dumps`` wrote."""
    return ENGINE.loads(body)


def parse(text: str | bytes, where: str, limit: int) -> Any:
    """Read JSON text that someone else wrote, as strictly as ``check``; an object's keys must be distinct.

    Raises:
        InvalidInput: it is no JSON, or JSON that could not be stored as it is.
    """
    try:
        value = json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where}: not JSON: {described(error)}") from None
    dumps(value, where, limit)
    return value


def canonical(body: bytes) -> bytes:
    """Return JSON text in the one form that equal values share: sorted keys, no spaces."""
    return _sorted(STDLIB.loads(body)).encode()


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {json.dumps(twice)} is there twice")
    return made


def _too_large(where: str, size: str, limit: int) -> InvalidInput:
    shown = f"{limit // MIB} MiB" if limit >= MIB else f"{limit // KIB} KiB"
    return InvalidInput(
        f"{where}: {size} bytes of JSON, the limit is {limit:,} ({shown}); keep large data in an artifact"
    )


def _walk(value: Any, room: int, depth: int) -> int:
    """Pass over exact JSON as fast as may be and return the *room* that is left; strings are checked later.

    Every value takes a byte at least, so counting them bounds the work also where one list stands in many places.
    """
    if not depth:
        raise _Refused
    items: Collection[Any] = value if type(value) is list else (value,)
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                raise _Refused
        items = value.values()
    room -= len(items)
    if room < 0:
        raise _TooLarge
    for item in items:
        kind = type(item)
        if kind in _SIMPLE:
            continue
        if kind is int:
            if not MIN_INT <= item <= MAX_INT:
                raise _Refused
        elif kind is float:
            if item - item != 0:
                raise _Refused
        elif kind is dict or kind is list:
            room = _walk(item, room, depth - 1)
        else:
            raise _Refused
    return room


def _problems(value: Any) -> list[Problem]:
    """Find what the fast pass refused, with paths; slow, and careful with hostile values."""
    found: list[Problem] = []
    for problem in _search(value, "", (), set()):
        found.append(problem)
        if len(found) > MAX_PROBLEMS:
            break
    return found


def _search(value: Any, path: str, above: tuple[int, ...], seen: set[int]) -> Iterator[Problem]:
    kind = type(value)
    if kind is not dict and kind is not list:
        text = _scalar_problem(value)
        if text:
            yield path, text
    elif id(value) in above:
        yield path, "contains itself"
    elif len(above) >= MAX_DEPTH:
        yield path, f"nested deeper than {MAX_DEPTH}"
    elif id(value) not in seen:
        # What stands in many places is searched once, or a few nested lists could keep us busy for ever.
        seen.add(id(value))
        inside = (*above, id(value))
        if kind is dict:
            yield from (problem for key in value if (problem := _key_problem(key, path)))
        for step, item in _items(value):
            yield from _search(item, path + step, inside, seen)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if type(value) is dict:
        return ((key_step(key), item) for key, item in value.items() if type(key) is str)
    return ((f"[{index}]", item) for index, item in enumerate(value))


def _key_problem(key: Any, path: str) -> Problem | None:
    if type(key) is not str:
        return path, f"keys are str, got {type(key).__name__}; annotate it, or make the keys str"
    text = _text_problem(key)
    return (path + key_step(key), f"in the key: {text}") if text else None


def _scalar_problem(value: Any) -> str | None:
    kind = type(value)
    if kind in _SIMPLE:
        return _text_problem(value) if kind is str else None
    if kind is int:
        return None if MIN_INT <= value <= MAX_INT else "an int beyond 64 bits is not stored; make it a str"
    if kind is float:
        return None if value - value == 0 else f"{_FLOATS.get(value, 'NaN')} is not JSON"
    hint = "annotate it or return a list" if kind in (tuple, set, frozenset) else "annotate it, or make it plain JSON"
    return f"{kind.__name__} is not JSON: {hint}"


_FLOATS = {float("inf"): "Infinity", float("-inf"): "-Infinity"}


def _text_problem(text: str) -> str | None:
    if "\0" in text:
        return "the character U+0000 cannot be stored"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"the lone surrogate U+{ord(text[error.start]):04X} cannot be stored"
    return None
