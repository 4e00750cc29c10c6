"""Type variables: what each of them stands for in ``Box[int]``, and in a class derived from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin


def type_arguments(annotation: Any) -> dict[Any, Any]:
    """Return what the type variables of a generic class stand for, those of its bases included.

    Raises:
        TypeError: one variable stands for two types in different bases.
    """
    cls = get_origin(annotation) or annotation
    found: dict[Any, Any] = dict(zip(getattr(cls, "__parameters__", ()), get_args(annotation)))
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if not isinstance(origin, type) or not get_args(base) or not getattr(origin, "__parameters__", ()):
            continue
        for variable, meaning in type_arguments(substituted(base, found)).items():
            if found.setdefault(variable, meaning) != meaning:
                raise TypeError(f"{cls.__name__}: the type variable {variable} stands for two types; rename one")
    return found


def substituted(annotation: Any, arguments: Mapping[Any, Any]) -> Any:
    """Return an annotation with its type variables replaced by what they stand for."""
    if isinstance(annotation, TypeVar):
        return arguments.get(annotation, annotation)
    variables = getattr(annotation, "__parameters__", ())
    if not arguments or not variables or isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation
    return annotation[tuple(arguments.get(variable, variable) for variable in variables)]
