"""Whether the class an executor returns plainly disagrees with the parameter its result is bound to."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from typing import Any, Union

import attrs

from flowkit.model.definitions import ANY

_ARRAYS = (list, tuple, set, frozenset)
_JSON = (str, int, float, bool, dict, list)
_COLLECTIONS = (
    *_ARRAYS,
    collections.abc.Sequence,
    collections.abc.Iterable,
    collections.abc.Collection,
    collections.abc.Set,
    collections.abc.MutableSet,
    collections.abc.MutableSequence,
)


def disagrees(returned: Any, wanted: Any) -> bool:
    """Whether no value of the annotation *returned* could be one of *wanted*; False whenever there is any doubt."""
    source, target = _plain_class(returned), _plain_class(wanted)
    if source is None or target is None or _is_related(source, target):
        return False
    if _is_record(source) or _is_record(target):
        return dict not in (source, target)
    if source in _JSON or target in _JSON:
        # A value that is neither record nor JSON is stored as some JSON value or other: a datetime as a str.
        return source in _JSON and target in _JSON
    return True


def list_disagrees(returned: Any, wanted: Any) -> bool:
    """Whether no list of *returned* could be one of *wanted*, or *wanted* is plainly no collection."""
    wanted = bare(wanted)
    if wanted is ANY or wanted is Any:
        return False
    origin = typing.get_origin(wanted) or wanted
    if origin in _COLLECTIONS:
        return disagrees(returned, _without_none(element_of(wanted)))
    return disagrees(list, wanted)


def length_of(annotation: Any) -> int | None:
    """Return how many elements the annotation of a tuple names one by one; None for one that takes any number."""
    collection = bare(annotation)
    arguments = typing.get_args(collection)
    if typing.get_origin(collection) is not tuple or not arguments or arguments[-1] is Ellipsis:
        return None
    return len(arguments) if arguments != ((),) else 0


def element_of(annotation: Any, place: int | None = None) -> Any:
    """Return the type of the elements of a collection's annotation; anything else says nothing about them.

    Args:
        place: of which element; None for what holds for every one of them.
    """
    collection = bare(annotation)
    arguments = typing.get_args(collection)
    if typing.get_origin(collection) not in _COLLECTIONS or not arguments:
        return ANY
    if length_of(collection) is None:
        return arguments[0]
    return arguments[place] if place is not None else ANY


def _plain_class(annotation: Any) -> type | None:
    annotation = bare(annotation)
    cls = typing.get_origin(annotation) or annotation
    if cls is dict or typing.is_typeddict(cls):
        return dict
    if not isinstance(cls, type) or cls in (object, type(None), Any):
        # None as a return annotation says nothing: the executor may set its result with step.result().
        return None
    if cls in _ARRAYS:
        return list
    return None if inspect.isabstract(cls) or getattr(cls, "_is_protocol", False) else cls


def bare(annotation: Any) -> Any:
    """Return an annotation without what is said beside it, and without None; ``ANY`` for a union of several."""
    return _without_none(_unannotated(annotation))


def _unannotated(annotation: Any) -> Any:
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    others = [one for one in typing.get_args(annotation) if one is not type(None)]
    return _unannotated(others[0]) if len(others) == 1 else ANY


def _is_related(source: type, target: type) -> bool:
    try:
        # An int is a float in JSON.
        return issubclass(source, target) or issubclass(target, source) or (source is int and target is float)
    except TypeError:
        return True


def _is_record(cls: type) -> bool:
    return attrs.has(cls) or dataclasses.is_dataclass(cls)
