"""What a parameter's annotation says about the elements of a list of results, and what holds them."""

from __future__ import annotations

import collections.abc
import types
from typing import Annotated, Any, Union, get_args, get_origin

from flowkit.model.definitions import ANY

_MADE: dict[Any, type] = {
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Set: frozenset,
    collections.abc.MutableSet: set,
}
"""What is made for an annotation, where that is no list."""

_COLLECTIONS = {
    *_MADE,
    list,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Iterable,
    collections.abc.Collection,
}


def element_of(annotation: Any) -> Any:
    """Return the type of the elements of a collection's annotation; anything else says nothing about them."""
    bare = _bare(annotation)
    arguments = get_args(bare)
    return arguments[0] if get_origin(bare) in _COLLECTIONS and arguments else ANY


def gathered(annotation: Any, values: list[Any]) -> Any:
    """Return the values in the collection that the annotation asks for: a tuple or a set, or else a list."""
    bare = _bare(annotation)
    kind = get_origin(bare) or bare
    made = _MADE.get(kind, list) if isinstance(kind, type) else list
    return values if made is list else made(values)


def _bare(annotation: Any) -> Any:
    """Return an annotation without what is said beside it, and without None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        others = [one for one in get_args(annotation) if one is not types.NoneType]
        return _bare(others[0]) if len(others) == 1 else annotation
    return annotation
