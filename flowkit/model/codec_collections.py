"""Lists, tuples, sets and dicts: each comes back as the type it was, its elements by their own annotation."""

from __future__ import annotations

import collections.abc
import json
import typing
from collections.abc import Callable, Iterable
from typing import Any, get_args, get_origin

from flowkit.model.codec_hooks import PLAIN_JSON, Find, Hooks, Schema, shown
from flowkit.model.codec_problems import MAX_PROBLEMS, Problem, Unfit, below, key_step, type_name, unfit
from flowkit.model.codec_scalars import SCALARS

Convert = Callable[[Any], Any]

LISTS = (
    list,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Collection,
    collections.abc.Iterable,
)
DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
SETS = {set: set, collections.abc.Set: set, collections.abc.MutableSet: set, frozenset: frozenset}

_STR = SCALARS[str]
_NATIVE = (_STR, SCALARS[int], SCALARS[bool])
_LIST: frozenset[type] = frozenset({list})
_DICT: frozenset[type] = frozenset({dict})


def collection_hooks(annotation: Any, find: Find) -> Hooks | None:
    """Return the hooks of a list, tuple, set or dict in its concrete or abstract form, or None if it is none."""
    origin, args = get_origin(annotation) or annotation, get_args(annotation)
    if origin in LISTS:
        return _list_hooks(annotation, find(args[0]) if args else PLAIN_JSON)
    if origin is tuple:
        return _tuple_hooks(annotation, args, find)
    if origin in SETS:
        return _set_hooks(annotation, SETS[origin], find(args[0]) if args else PLAIN_JSON)
    if origin in DICTS:
        key, value = args or (str, Any)
        return _dict_hooks(annotation, _key_hooks(annotation, find(key)), find(value))
    return None


def each(items: Iterable[Any], convert: Convert) -> list[Any]:
    """Convert every item, and report all that do not fit with their index."""
    made: list[Any] = []
    problems: list[Problem] = []
    for item in items:
        try:
            made.append(convert(item))
        except Exception as error:
            problems += below(f"[{len(made)}]", error)
            made.append(None)
            if len(problems) > MAX_PROBLEMS:
                break
    if problems:
        raise Unfit(problems)
    return made


def _types_in(items: Iterable[Any], item: Hooks) -> bool:
    """Whether all items are of the one type that needs no conversion; far cheaper than asking each."""
    return item is PLAIN_JSON or (item in _NATIVE and set(map(type, items)) <= item.python)


def _all(items: Any, item: Hooks, convert: Convert) -> list[Any]:
    return list(items) if _types_in(items, item) else each(items, convert)


def _expected(annotation: Any, cls: type) -> str:
    origin = get_origin(annotation) or annotation
    return cls.__name__ if origin is cls else f"{cls.__name__} (a {shown(origin)} comes back as one)"


def _list_hooks(annotation: Any, item: Hooks) -> Hooks:
    expected = _expected(annotation, list)

    def encode(value: Any) -> list[Any]:
        if type(value) is list:
            return _all(value, item, item.encode)
        raise unfit(expected, value)

    def decode(value: Any) -> list[Any]:
        if type(value) is list:
            return _all(value, item, item.decode)
        raise unfit("list", value)

    return Hooks(shown(annotation), encode, decode, _LIST, _LIST, _array(item))


def _array(item: Hooks, **more: Any) -> Schema:
    return lambda definitions: {"type": "array", "items": item.schema(definitions), **more}


def _tuple_hooks(annotation: Any, args: tuple[Any, ...], find: Find) -> Hooks:
    if annotation is tuple or annotation is typing.Tuple:  # noqa: UP006 (the bare alias is an object of its own)
        args = (Any, ...)
    if len(args) == 2 and args[1] is ...:
        return _variadic_hooks(annotation, find(args[0]))
    return fixed_hooks(annotation, tuple, [find(arg) for arg in args])


def _variadic_hooks(annotation: Any, item: Hooks) -> Hooks:
    def encode(value: Any) -> list[Any]:
        if type(value) is tuple:
            return _all(value, item, item.encode)
        raise unfit("tuple", value)

    def decode(value: Any) -> tuple[Any, ...]:
        if type(value) is list:
            return tuple(_all(value, item, item.decode))
        raise unfit("list", value)

    return Hooks(shown(annotation), encode, decode, _LIST, frozenset({tuple}), _array(item))


def fixed_hooks(annotation: Any, cls: type, items: list[Hooks], *, required: int | None = None) -> Hooks:
    """Return the hooks of a tuple or NamedTuple of a known length; those after *required* may be left out of JSON."""
    most = len(items)
    least = most if required is None else required
    encoders, decoders = [item.encode for item in items], [item.decode for item in items]

    def in_order(values: Any, converts: list[Convert]) -> list[Any]:
        if not least <= len(values) <= most:
            raise Unfit([("", f"expected {most} elements, got {len(values)}")])
        turn = iter(converts)
        return each(values, lambda value: next(turn)(value))

    def encode(value: Any) -> list[Any]:
        if type(value) is cls:
            return in_order(value, encoders)
        raise unfit(cls.__name__, value)

    def decode(value: Any) -> Any:
        if type(value) is not list:
            raise unfit("list", value)
        made = in_order(value, decoders)
        return tuple(made) if cls is tuple else cls(*made)

    def schema(definitions: Any) -> dict[str, Any]:
        prefix = [item.schema(definitions) for item in items]
        return {"type": "array", "prefixItems": prefix, "minItems": least, "maxItems": most}

    return Hooks(shown(annotation), encode, decode, _LIST, frozenset({cls}), schema)


def _set_hooks(annotation: Any, cls: Any, item: Hooks) -> Hooks:
    def encode(value: Any) -> list[Any]:
        if type(value) is cls:
            # Sorted, because equal sets must become equal text: runs are compared by it.
            return sorted(each(value, item.encode), key=_sort_text)
        raise unfit(cls.__name__, value)

    def decode(value: Any) -> Any:
        if type(value) is not list:
            raise unfit("list", value)
        made = cls(each(value, item.decode))
        if len(made) != len(value):
            raise Unfit([("", f"expected the elements of a {cls.__name__}, got one of them twice")])
        return made

    return Hooks(shown(annotation), encode, decode, _LIST, frozenset({cls}), _array(item, uniqueItems=True))


def _sort_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=type_name)


def _key_hooks(annotation: Any, key: Hooks) -> Hooks:
    """Return hooks that make JSON object keys, which are text, of keys that are one JSON scalar."""
    if key is PLAIN_JSON:
        raise TypeError(f"{shown(annotation)}: keys need a type, such as str or int")
    if key.json == {str}:
        return key
    if not key.json or not key.json <= {int, float, bool}:
        raise TypeError(
            f"{shown(annotation)}: keys must be scalars in JSON, such as str, int, an Enum, a date or a UUID"
        )

    def encode(value: Any) -> str:
        return json.dumps(key.encode(value), allow_nan=False)

    def decode(text: Any) -> Any:
        if type(text) is not str:  # in JSON it always is; a dict that is an instance already has the key itself
            return key.decode(text)
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        # One text for each key: "01" and "1e0" are not how 1 is written.
        if json.dumps(value) != text:
            raise unfit(key.name, text)
        return key.decode(value)

    return Hooks(key.name, encode, decode, frozenset({str}), key.python, key.schema)


def _dict_hooks(annotation: Any, key: Hooks, item: Hooks) -> Hooks:
    expected = _expected(annotation, dict)

    def is_plain(value: dict[Any, Any]) -> bool:
        return key is _STR and _types_in(value, key) and _types_in(value.values(), item)

    def encode(value: Any) -> dict[str, Any]:
        if type(value) is dict:
            return dict(value) if is_plain(value) else pairs(value, key.encode, item.encode)
        raise unfit(expected, value)

    def decode(value: Any) -> dict[Any, Any]:
        if type(value) is dict:
            return dict(value) if is_plain(value) else pairs(value, key.decode, item.decode)
        raise unfit("dict", value)

    def schema(definitions: Any) -> dict[str, Any]:
        made = {"type": "object", "additionalProperties": item.schema(definitions)}
        return made if key is _STR else made | {"propertyNames": {"description": key.name}}

    return Hooks(shown(annotation), encode, decode, _DICT, _DICT, schema)


def pairs(value: dict[Any, Any], convert_key: Convert, convert: Convert) -> dict[Any, Any]:
    """Convert a dict's keys and values, and report all that do not fit with their key."""
    made: dict[Any, Any] = {}
    problems: list[Problem] = []
    for name, item in value.items():
        step = key_step(name) if type(name) is str else ""
        try:
            key = convert_key(name)
            made[key] = None
        except Exception as error:
            problems += [(path, f"in the key: {text}") for path, text in below(step, error)]
            continue
        try:
            made[key] = convert(item)
        except Exception as error:
            problems += below(step or key_step(str(key)), error)
        if len(problems) > MAX_PROBLEMS:
            break
    if not problems and len(made) != len(value):
        problems.append(("", "two of its keys are the same"))
    if problems:
        raise Unfit(problems)
    return made
