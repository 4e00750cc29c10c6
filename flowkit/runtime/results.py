"""What a parameter's annotation says about the elements of a list of results."""

from __future__ import annotations

import collections.abc
from typing import Any, get_args, get_origin

from flowkit.model.definitions import ANY

_COLLECTIONS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)


def element_of(annotation: Any) -> Any:
    """Return the type of the elements of a list annotation; anything else says nothing about them."""
    if get_origin(annotation) in _COLLECTIONS:
        arguments = get_args(annotation)
        return arguments[0] if arguments else ANY
    return ANY


def gathered(annotation: Any, values: list[Any]) -> Any:
    """Return the values in the collection that the annotation asks for: a tuple, or else a list."""
    return tuple(values) if get_origin(annotation) is tuple or annotation is tuple else values
