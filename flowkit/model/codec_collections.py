"""Lists, sets, tuples of any length and dicts, read and written by the loops that cattrs generates."""

from __future__ import annotations

import json
from typing import Any, NewType, get_args

import cattrs
from cattrs.cols import (
    iterable_unstructure_factory,
    list_structure_factory,
    mapping_structure_factory,
    mapping_unstructure_factory,
)
from cattrs.fns import identity

from flowkit.model.codec_annotations import kind_of, origin_of, shown
from flowkit.model.codec_hooks import Find, Hooks, Structure, Unstructure, container
from flowkit.model.codec_problems import Misfit, Unfit, described, type_name, unfit


def list_hooks(annotation: Any, find: Find, converter: cattrs.Converter) -> Hooks:
    """Return the hooks of a list, a set or a tuple of any length."""
    cls: Any = {"list": list, "tuple": tuple}.get(kind_of(annotation), set)
    cls = frozenset if origin_of(annotation) is frozenset else cls
    item = get_args(annotation)[0]
    find(item)
    read: Structure = list_structure_factory(_of(list, item), converter)
    write: Unstructure = iterable_unstructure_factory(_of(list, item), converter, unstructure_to=list)

    def structure(value: Any, _: Any) -> Any:
        made = read(value, None)
        if cls is list or cls is tuple:
            return made if cls is list else tuple(made)
        if len(made := cls(made)) != len(value):
            raise Unfit([("", f"expected the elements of a {cls.__name__}, got one of them twice")])
        return made

    def unstructure(value: Any) -> Any:
        made = write(value)
        # Sorted, because equal sets must become equal text: runs are compared by it.
        return made if cls is list or cls is tuple else sorted(made, key=_sort_text)

    return container(_expected(annotation, cls), "list", cls, list, structure, unstructure)


def dict_hooks(annotation: Any, find: Find, converter: cattrs.Converter) -> Hooks:
    """Return the hooks of a dict.

    Raises:
        TypeError: its keys are no scalars in JSON.
    """
    key, item = get_args(annotation)
    hooks = find(key)
    find(item)
    if key is Any:
        raise TypeError(f"{shown(annotation)}: keys need a type, such as str or int")
    if not hooks.json or hooks.json != {str} and not hooks.json <= {int, float, bool}:
        raise TypeError(
            f"{shown(annotation)}: keys must be scalars in JSON, such as str, int, an Enum, a date or a UUID"
        )
    in_json: Any = key
    write_key: Any = hooks.unstructure
    if hooks.json != {str}:
        in_json, write_key = NewType("Key", key), _key_to_text(hooks)
        converter.register_structure_hook(in_json, _key_from_text(shown(key), hooks))
    read = mapping_structure_factory(_of(dict, str, item), converter, dict, in_json, item, True)
    write = mapping_unstructure_factory(
        _of(dict, str, item), converter, dict, None if write_key is identity else write_key
    )

    def structure(value: Any, _: Any) -> Any:
        if len(made := read(value)) != len(value):
            raise Unfit([("", "two of its keys are the same")])
        return made

    return container(_expected(annotation, dict), "dict", dict, dict, structure, write)


def _expected(annotation: Any, cls: type) -> str:
    origin = origin_of(annotation)
    return cls.__name__ if origin is cls else f"{cls.__name__} (a {shown(origin)} comes back as one)"


def _of(cls: Any, *args: Any) -> Any:
    return cls[args]


def _sort_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=type_name)


def _key_to_text(hooks: Hooks) -> Unstructure:
    def unstructure(key: Any) -> Any:
        made = hooks.unstructure(key) if type(key) in hooks.python else Misfit(key)
        try:
            return made if type(made) is Misfit else json.dumps(made, allow_nan=False)
        except ValueError as error:
            return Misfit(key, described(error))

    return unstructure


def _key_from_text(name: str, hooks: Hooks) -> Structure:
    def structure(text: Any, _: Any) -> Any:
        if type(text) is not str:  # in JSON it always is; a dict that is an instance already has the key itself
            return hooks.structure(text, _)
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        # One text for each key: "01" and "1e0" are not how 1 is written.
        if json.dumps(value) != text:
            raise unfit(name, text)
        return hooks.structure(value, _)

    return structure
