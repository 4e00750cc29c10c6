"""Unions whose types differ in JSON, or are classes that are told apart by a tag."""

from __future__ import annotations

from typing import Any, get_args

from flowkit.errors import nearest
from flowkit.model.codec_annotations import NONE, TAG, origin_of, shown
from flowkit.model.codec_hooks import DICT, NATIVE, Find, Hooks, Structure, Unstructure
from flowkit.model.codec_problems import MISSING, Misfit, Unfit, quoted, type_name, unfit

_JSON_NAMES = {dict: "object", NONE: "null"}
Branch = tuple[str, Hooks]
"""What a message calls one type of a union, and its hooks."""


def union_hooks(annotation: Any, find: Find) -> Hooks:
    """Return the hooks of a union.

    Raises:
        TypeError: a value of one type could come back as another.
    """
    name, args = shown(annotation), get_args(annotation)
    if Any in args:
        if all(arg in (*NATIVE, Any) for arg in args):
            return find(Any)
        raise TypeError(f"{name}: plain JSON cannot be told apart from the other types; leave Any out")
    found = [(arg, find(arg)) for arg in args]
    some = [(shown(arg), hooks) for arg, hooks in found if arg is not NONE]
    if len(some) == 1:
        return _optional(name, *some[0])
    classes = [(origin_of(arg), hooks) for arg, hooks in found if hooks.keys is not None]
    if len(classes) < 2:
        return _distinct(name, [(shown(arg), hooks) for arg, hooks in found])
    branches = [(shown(arg), hooks) for arg, hooks in found if hooks.keys is None]
    tagged = (" | ".join(cls.__name__ for cls, _ in classes), _tagged(name, classes))
    return _distinct(name, [*branches, tagged]) if branches else tagged[1]


def _optional(name: str, inner_name: str, hooks: Hooks) -> Hooks:
    if NONE in hooks.json:
        raise TypeError(f"{name}: {inner_name} may be null in JSON already")
    read, write = hooks.structure, hooks.unstructure

    def unstructure(value: Any) -> Any:
        if value is None:
            return None
        made = write(value)
        return Misfit(value, f"a {inner_name} became null, which is None") if made is None else made

    # Nothing is known of a user's hook, so nothing is of its union.
    json, python = (kinds | {NONE} if kinds else kinds for kinds in (hooks.json, hooks.python))
    return Hooks(lambda value, _: None if value is None else read(value, _), unstructure, json, python)


def _distinct(name: str, branches: list[Branch]) -> Hooks:
    """Return the hooks of branches that differ in JSON."""
    readers: dict[type, list[Structure]] = {}
    writers: dict[type, list[Unstructure]] = {}
    for hooks in _ordered(name, branches):
        for kind in hooks.json:
            readers.setdefault(kind, []).append(hooks.structure)
        for kind in hooks.python:
            writers.setdefault(kind, []).append(hooks.unstructure)

    def structure(value: Any, _: Any) -> Any:
        found = readers.get(type(value), ())
        if len(found) == 1:
            return found[0](value, _)
        for attempt in found:
            try:
                return attempt(value, _)
            except Unfit:
                continue
        got = quoted(value) if found else type_name(value)
        raise Unfit([("", f"expected {name}, got {got}")])

    def unstructure(value: Any) -> Any:
        for write in writers.get(type(value), ()):
            if type(made := write(value)) is not Misfit:
                return made
        return Misfit(value)

    return Hooks(structure, unstructure, frozenset(readers), frozenset(writers))


def _ordered(name: str, branches: list[Branch]) -> list[Hooks]:
    """Return the hooks in the order in which they are tried, or refuse branches that are alike."""
    # Few values before many, and int before float, which takes ints as well.
    ordered = sorted(branches, key=lambda branch: (not branch[1].choices, branch[0] == "float"))
    for at, (branch_name, hooks) in enumerate(ordered):
        if not hooks.json or not hooks.python:
            raise TypeError(f"{name}: what {branch_name} looks like in JSON is known to its own hooks only")
        for other in ordered[:at]:
            _refuse_alike(name, (branch_name, hooks), other)
    return [hooks for _, hooks in ordered]


def _refuse_alike(name: str, branch: Branch, other: Branch) -> None:
    for kind in sorted(branch[1].json & other[1].json, key=str):
        if (branch[0], other[0]) == ("float", "int"):
            continue
        choices = [json for json in other[1].choices if type(json) is kind]
        if choices and not any(_takes(branch[1], json) for json in choices):
            continue
        json_name = _JSON_NAMES.get(kind, kind.__name__)
        raise TypeError(
            f"{name}: {other[0]} and {branch[0]} are both {json_name} in JSON, so one could come back "
            "as the other; put them into classes of their own"
        )


def _takes(hooks: Hooks, json: Any) -> bool:
    try:
        hooks.structure(json, None)
    except Exception:
        return False
    return True


def _tagged(name: str, classes: list[tuple[type, Hooks]]) -> Hooks:
    """Return the hooks of two or more classes: the class's name goes into the object."""
    by_tag: dict[Any, Hooks] = {}
    for cls, hooks in classes:
        if cls.__name__ in by_tag:
            raise TypeError(f"{name}: two classes are called {cls.__name__}, which is their tag; rename one")
        if TAG in (hooks.keys or ()):
            raise TypeError(f"{name}: {cls.__name__} has a field {TAG!r}, the key of the tag; rename it")
        by_tag[cls.__name__] = hooks
    by_class, names, expected = dict(classes), ", ".join(by_tag), " | ".join(by_tag)

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise unfit(expected, value)
        if TAG not in value:
            raise Unfit([(f".{TAG}", f"{MISSING}, expected one of {names}")])
        tag = value[TAG]
        if type(tag) is not str or tag not in by_tag:
            hint = nearest(tag, by_tag) if type(tag) is str else ""
            raise Unfit([(f".{TAG}", f"expected one of {names}, got {quoted(tag)}{hint}")])
        return by_tag[tag].structure({key: item for key, item in value.items() if key != TAG}, None)

    def unstructure(value: Any) -> Any:
        cls = type(value)
        made: Any = by_class[cls].unstructure(value) if cls in by_class else Misfit(value)
        return made if type(made) is Misfit else {TAG: cls.__name__, **made}

    return Hooks(structure, unstructure, DICT, frozenset(by_class))
