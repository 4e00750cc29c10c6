"""Unions: the JSON itself says which branch it is, or a tag does where the branches are classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowkit.errors import nearest
from flowkit.model.codec_hooks import PLAIN_JSON, Definitions, Find, Hooks, shown
from flowkit.model.codec_problems import MISSING, Unfit, quoted, type_name, unfit
from flowkit.model.codec_records import TAG
from flowkit.model.codec_scalars import NONE, SCALARS

_JSON_NAMES = {str: "str", int: "int", float: "float", bool: "bool", list: "list", dict: "object", NONE: "null"}


def union_hooks(annotation: Any, args: tuple[Any, ...], find: Find) -> Hooks:
    """Return the hooks of ``A | B``.

    Raises:
        TypeError: two branches look alike in JSON, so that a value could come back as another one.
    """
    name = shown(annotation)
    branches = [find(arg) for arg in args if arg is not NONE]
    if any(branch is PLAIN_JSON for branch in branches):
        return _anything(name, branches)
    if len(branches) == 1 and NONE in args:
        return _optional(name, branches[0])
    branches = _with_classes_tagged(name, branches) + ([SCALARS[NONE]] if NONE in args else [])
    return _distinct(name, branches) if len(branches) > 1 else branches[0]


def _anything(name: str, branches: list[Hooks]) -> Hooks:
    if all(branch.plain for branch in branches):
        return PLAIN_JSON
    raise TypeError(f"{name}: plain JSON cannot be told apart from the other types; leave Any out")


def _optional(name: str, branch: Hooks) -> Hooks:
    encode_some, decode_some = branch.encode, branch.decode
    if NONE in branch.json:
        if branch.plain:
            return branch
        raise TypeError(f"{name}: {branch.name} may be null in JSON already")

    def encode(value: Any) -> Any:
        if value is None:
            return None
        made = encode_some(value)
        if made is None:
            raise Unfit([("", f"a {branch.name} became null, which is None")])
        return made

    def decode(value: Any) -> Any:
        return None if value is None else decode_some(value)

    def schema(definitions: Definitions) -> dict[str, Any]:
        some = branch.schema(definitions)
        return {"anyOf": [some, {"type": "null"}]} if some else {}

    # Nothing is known of a user's hook, so nothing is of its union.
    json, python = (kinds | {NONE} if kinds else kinds for kinds in (branch.json, branch.python))
    return Hooks(name, encode, decode, json, python, schema, plain=branch.plain)


def _distinct(name: str, branches: list[Hooks]) -> Hooks:
    """Return the hooks of branches that differ in JSON."""
    by_python: dict[type, list[Hooks]] = {}
    by_json: dict[type, list[Hooks]] = {}
    # Few values before many, and int before float, which takes ints as well.
    for branch in sorted(branches, key=lambda branch: (not branch.choices, branch is SCALARS[float])):
        if not branch.json or not branch.python:
            raise TypeError(f"{name}: what {branch.name} looks like in JSON is known to its own hooks only")
        for kind in sorted(branch.json, key=str):
            _refuse_alike(name, kind, branch, by_json.get(kind, []))
            by_json.setdefault(kind, []).append(branch)
        for kind in branch.python:
            by_python.setdefault(kind, []).append(branch)
    encode = _first_fit(name, {kind: [b.encode for b in found] for kind, found in by_python.items()})
    decode = _first_fit(name, {kind: [b.decode for b in found] for kind, found in by_json.items()})

    def schema(definitions: Definitions) -> dict[str, Any]:
        return {"anyOf": [branch.schema(definitions) for branch in branches]}

    plain = all(branch.plain for branch in branches)
    return Hooks(name, encode, decode, frozenset(by_json), frozenset(by_python), schema, plain=plain)


def _refuse_alike(name: str, kind: type, branch: Hooks, others: list[Hooks]) -> None:
    for other in others:
        if other.plain and (branch.plain or branch is SCALARS[float]):
            continue
        if other.choices and not any(_takes(branch, json) for json in other.choices if type(json) is kind):
            continue
        raise TypeError(
            f"{name}: {other.name} and {branch.name} are both {_JSON_NAMES[kind]} in JSON, so one could come back "
            "as the other; put them into classes of their own"
        )


def _takes(branch: Hooks, json: Any) -> bool:
    try:
        branch.decode(json)
    except Exception:
        return False
    return True


def _first_fit(name: str, converts: dict[type, list[Callable[[Any], Any]]]) -> Callable[[Any], Any]:
    single = {kind: found[0] for kind, found in converts.items() if len(found) == 1}

    def convert(value: Any) -> Any:
        kind = type(value)
        if kind in single:
            return single[kind](value)
        for attempt in converts.get(kind, ()):
            try:
                return attempt(value)
            except Unfit:
                continue
        got = quoted(value) if kind in converts and kind in (str, int, float, bool) else type_name(value)
        raise Unfit([("", f"expected {name}, got {got}")])

    return convert


def _with_classes_tagged(name: str, branches: list[Hooks]) -> list[Hooks]:
    """Replace two or more classes among the branches by one that writes the class's name into the object."""
    classes = [branch for branch in branches if branch.tagged]
    if len(classes) < 2:
        return branches
    by_tag: dict[str, Hooks] = {}
    for branch in classes:
        tagged = branch.tagged
        assert tagged is not None
        if tagged.cls.__name__ in by_tag:
            raise TypeError(f"{name}: two classes are called {tagged.cls.__name__}, which is their tag; rename one")
        if TAG in tagged.keys:
            raise TypeError(f"{name}: {tagged.cls.__name__} has a field {TAG!r}, the key of the tag; rename it")
        by_tag[tagged.cls.__name__] = branch
    return [branch for branch in branches if not branch.tagged] + [_tagged_union(by_tag)]


def _tagged_union(by_tag: dict[str, Hooks]) -> Hooks:
    name = " | ".join(by_tag)
    kinds = {kind: (tag, branch) for tag, branch in by_tag.items() for kind in branch.python}

    def encode(value: Any) -> dict[str, Any]:
        if type(value) not in kinds:
            raise unfit(name, value)
        tag, branch = kinds[type(value)]
        return {TAG: tag, **branch.encode(value)}

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise unfit(name, value)
        if TAG not in value:
            raise Unfit([(f".{TAG}", f"{MISSING}, expected one of {', '.join(by_tag)}")])
        tag = value[TAG]
        if type(tag) is not str or tag not in by_tag:
            hint = nearest(tag, by_tag) if type(tag) is str else ""
            raise Unfit([(f".{TAG}", f"expected one of {', '.join(by_tag)}, got {quoted(tag)}{hint}")])
        return by_tag[tag].decode({key: item for key, item in value.items() if key != TAG})

    def schema(definitions: Definitions) -> dict[str, Any]:
        return {"oneOf": [b.tagged.schema(definitions, tag) for tag, b in by_tag.items() if b.tagged]}

    return Hooks(name, encode, decode, frozenset({dict}), frozenset(kinds), schema)
