"""What holds a list of results, as the annotation of the parameter that it is bound to says."""

from __future__ import annotations

import collections.abc
from typing import Any, get_origin

from flowkit.dsl.agreement import bare

_MADE: dict[Any, type] = {
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Set: frozenset,
    collections.abc.MutableSet: set,
}
"""What is made for an annotation, where that is no list."""

def gathered(annotation: Any, values: list[Any]) -> Any:
    """Return the values in the collection that the annotation asks for: a tuple or a set, or else a list."""
    plain = bare(annotation)
    kind = get_origin(plain) or plain
    made = _MADE.get(kind, list) if isinstance(kind, type) else list
    return values if made is list else made(values)
