"""What kind of values an annotation names, with everything that says nothing about them taken away."""

from __future__ import annotations

import collections.abc
import dataclasses
import sys
import typing
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import attrs

from flowkit.model.definitions import ANY
from flowkit.model.sensitive import Sensitive, is_sensitive, unmarked

TAG = "_type"
"""The key that says which class of a union an object is."""
NONE = type(None)
KINDS: dict[Any, str] = {
    **dict.fromkeys((list, collections.abc.Sequence, collections.abc.MutableSequence), "list"),
    **dict.fromkeys((collections.abc.Collection, collections.abc.Iterable), "list"),
    **dict.fromkeys((dict, collections.abc.Mapping, collections.abc.MutableMapping), "dict"),
    **dict.fromkeys((set, frozenset, collections.abc.Set, collections.abc.MutableSet), "set"),
    tuple: "tuple",
    Literal: "literal",
    Union: "union",
    Any: "any",
}
_WRAPPERS = ("Annotated", "Final", "Required", "NotRequired", "ReadOnly")
_NOTHING = (None, typing.NoReturn, getattr(typing, "Never", None))
Keep = Callable[[Any], bool]
"""Whether an annotation stays as it is, because the user's converter has a hook for it."""


def origin_of(annotation: Any) -> Any:
    """Return the class of an annotation without its arguments."""
    if is_sensitive(annotation):
        return origin_of(unmarked(annotation))
    return get_origin(annotation) or annotation


def shown(annotation: Any) -> str:
    """Write an annotation as a reader would: ``dict[str, Item | None]``."""
    if is_sensitive(annotation):
        return shown(unmarked(annotation))
    if annotation is NONE or annotation is ...:
        return "None" if annotation is NONE else "..."
    origin, args = origin_of(annotation), get_args(annotation)
    name = getattr(origin, "__name__", None)
    if origin is Union:
        return " | ".join(map(shown, args))
    if origin is Literal or not isinstance(name, str):
        return repr(annotation).replace("typing.", "")
    inside = ", ".join(f"[{', '.join(map(shown, arg))}]" if isinstance(arg, list) else shown(arg) for arg in args)
    return f"{name}[{inside}]" if args else name


def simplified(annotation: Any, keep: Keep = lambda annotation: False) -> Any:
    """Return an annotation of classes, collections, unions and literals alone: without aliases and ``Annotated``.

    The mark of values that are not to be shown is kept.
    """
    if is_sensitive(annotation):
        return Annotated[simplified(unmarked(annotation), keep), Sensitive()]
    origin, args = get_origin(annotation), get_args(annotation)
    name = getattr(origin, "__name__", None) or getattr(origin, "_name", None)
    if keep(annotation) or origin is Literal:
        return annotation
    if any(annotation is nothing for nothing in _NOTHING):
        return NONE
    if annotation is Any or annotation is ANY or annotation is object:
        return Any
    if hasattr(annotation, "__metadata__") or hasattr(annotation, "__supertype__"):
        return simplified(getattr(annotation, "__supertype__", None) or annotation.__origin__, keep)
    if name in _WRAPPERS and args:
        return simplified(args[0], keep)
    if type(origin or annotation).__name__ == "TypeAliasType":
        value = (origin or annotation).__value__
        return simplified(value[args] if origin else value, keep)
    if isinstance(annotation, TypeVar):
        meanings = annotation.__constraints__ or (annotation.__bound__ or Any,)
        return simplified(Union[meanings], keep)
    return _with_arguments(annotation, origin, args, keep)


def _with_arguments(annotation: Any, origin: Any, args: tuple[Any, ...], keep: Keep) -> Any:
    if origin is Union or getattr(origin, "__name__", "") == "UnionType":
        return Union[tuple(simplified(arg, keep) for arg in args)]
    cls = origin or annotation
    variables = getattr(cls, "__parameters__", ())
    if not isinstance(cls, type) or not (cls in KINDS or variables):
        return annotation
    if not args:
        if origin is tuple and annotation is not typing.Tuple:  # noqa: UP006 (the bare alias is an object of its own)
            return annotation
        bare: tuple[Any, ...] = {"dict": (str, Any), "tuple": (Any, ...)}.get(KINDS.get(cls, ""), (Any,))
        args = bare if cls in KINDS else variables
    return cls[tuple(arg if arg is ... else simplified(arg, keep) for arg in args)]  # type: ignore[index]


def kind_of(annotation: Any) -> str:
    """Name the kind of a simplified annotation; empty when it is no scalar, collection or class with fields."""
    if is_sensitive(annotation):
        return "sensitive"
    cls = origin_of(annotation)
    if not isinstance(cls, type) or cls in KINDS:
        return KINDS.get(cls, "") if isinstance(cls, collections.abc.Hashable) else ""
    if issubclass(cls, Enum):
        return "enum"
    if attrs.has(cls) or dataclasses.is_dataclass(cls):
        return "class"
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return "namedtuple"
    if issubclass(cls, dict) and hasattr(cls, "__required_keys__"):
        return "typeddict"
    bases = [(sys.modules.get("pydantic"), "BaseModel"), (sys.modules.get("msgspec"), "Struct")]
    models = [getattr(module, name) for module, name in bases if hasattr(module, name)]
    return "model" if any(issubclass(cls, model) for model in models) else ""


def choices_of(annotation: Any) -> list[tuple[Any, Any]]:
    """Return JSON and value of each member of a ``Literal`` or Enum; of an Enum whose values are no JSON, the names."""
    if get_origin(annotation) is Literal:
        return [(value.value if isinstance(value, Enum) else value, value) for value in get_args(annotation)]
    by_value = all(type(member.value) in (str, int, bool, NONE, float) for member in annotation)
    return [(member.value if by_value else member.name, member) for member in annotation]
