"""Finds the hooks of an annotation: the user's own first, then those of its kind; each is made once."""

from __future__ import annotations

import threading
from enum import Enum
from typing import Any, ForwardRef, TypeVar, Union, get_args, get_origin

import attrs
import cattrs

from flowkit.model.codec_collections import collection_hooks
from flowkit.model.codec_custom import CustomHooks
from flowkit.model.codec_foreign import foreign_hooks
from flowkit.model.codec_hooks import ANYTHING, PLAIN_JSON, Decode, Hooks, fixed, shown
from flowkit.model.codec_records import (
    class_hooks,
    is_namedtuple,
    is_typed_dict,
    namedtuple_hooks,
    record_class,
    typed_dict_hooks,
)
from flowkit.model.codec_scalars import SCALARS, enum_hooks, is_literal, literal_hooks
from flowkit.model.codec_unions import union_hooks
from flowkit.model.definitions import ANY

_FILE = "an open file cannot be stored; pass its Path, or store it as an artifact"
_ITERATOR = "an iterator cannot be stored; make it a list"
_NO_FORM = "it has no JSON form; use an attrs class or a dataclass, or give Runtime a converter with hooks for it"
_REASONS = {
    "Callable": "a function cannot be stored; pass the values that it would use",
    "IO": _FILE,
    "TextIO": _FILE,
    "BinaryIO": _FILE,
    "Iterator": _ITERATOR,
    "Generator": _ITERATOR,
}
_WRAPPERS = ("Annotated", "Final", "Required", "NotRequired", "ReadOnly")


class Compiler:
    """Makes and remembers hooks.

    Args:
        converter: a cattrs converter whose hooks go first.
        takes_instances: decoding lets values pass that are instances already.
    """

    def __init__(self, converter: cattrs.Converter | None, *, takes_instances: bool) -> None:
        self._takes_instances = takes_instances
        self._lock = threading.RLock()
        self._found: dict[Any, Hooks] = {}
        self._custom = CustomHooks(converter, self.find) if converter is not None else None

    def find(self, annotation: Any) -> Hooks:
        """Return the hooks of an annotation.

        Raises:
            TypeError: its values could not be stored.
        """
        annotation = _unwrapped(annotation)
        try:
            hash(annotation)
        except TypeError:  # an Annotated inside may carry anything
            return self._made(annotation)
        with self._lock:
            return self._found.get(annotation) or self._remembered(annotation)

    def _remembered(self, annotation: Any) -> Hooks:
        before = set(self._found)
        try:
            if (cls := record_class(annotation)) is not None:
                self._found[annotation] = self._later(annotation, cls)
            made = self._found[annotation] = self._made(annotation)
        except BaseException:
            # What was made on the way may point to what was not.
            for found in set(self._found) - before:
                del self._found[found]
            raise
        return made

    def _later(self, annotation: Any, cls: type) -> Hooks:
        """Return hooks for a class that refers to itself: they ask for the finished ones when they are called."""
        found, python = self._found, frozenset({cls})
        return Hooks(
            name=shown(annotation),
            encode=lambda value: found[annotation].encode(value),
            decode=lambda value: found[annotation].decode(value),
            json=frozenset({dict}),
            python=python,
            schema=lambda definitions: found[annotation].schema(definitions),
        )

    def _made(self, annotation: Any) -> Hooks:
        hooks = self._by_user(annotation) or self._by_kind(annotation)
        if self._takes_instances and hooks.python - ANYTHING:
            return attrs.evolve(hooks, decode=_passing(hooks))
        return hooks

    def _by_user(self, annotation: Any) -> Hooks | None:
        encode = self._custom.find_encode(annotation) if self._custom else None
        decode = self._custom.find_decode(annotation) if self._custom else None
        if encode is None and decode is None:
            return None
        if encode is None or decode is None:
            other = self._by_kind(annotation)
            encode, decode = encode or other.encode, decode or other.decode
        python = frozenset({annotation}) if isinstance(annotation, type) else frozenset()
        return Hooks(shown(annotation), encode, decode, frozenset(), python, fixed())

    def _by_kind(self, annotation: Any) -> Hooks:
        if annotation is ANY or annotation is Any or annotation is object:
            return PLAIN_JSON
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is None and annotation in SCALARS:
            return SCALARS[annotation]
        if isinstance(annotation, TypeVar):
            return self._variable(annotation)
        if hasattr(annotation, "__supertype__"):
            return self.find(annotation.__supertype__)
        if is_literal(annotation):
            return literal_hooks(annotation)
        if origin is Union or getattr(origin, "__name__", "") == "UnionType":
            return union_hooks(annotation, args, self.find)
        return self._class_or_collection(annotation) or _refused(annotation)

    def _variable(self, variable: TypeVar) -> Hooks:
        if variable.__constraints__:
            return union_hooks(variable, variable.__constraints__, self.find)
        return self.find(variable.__bound__) if variable.__bound__ is not None else PLAIN_JSON

    def _class_or_collection(self, annotation: Any) -> Hooks | None:
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            return enum_hooks(annotation)
        if (cls := record_class(annotation)) is not None:
            return class_hooks(annotation, cls, self.find)
        if is_namedtuple(annotation):
            return namedtuple_hooks(annotation, self.find)
        if is_typed_dict(annotation):
            return typed_dict_hooks(annotation, self.find)
        return collection_hooks(annotation, self.find) or foreign_hooks(annotation)


def _unwrapped(annotation: Any) -> Any:
    """Return an annotation without what says nothing about its values, such as ``Annotated``."""
    while True:
        origin = get_origin(annotation)
        name = getattr(origin, "__name__", None) or getattr(origin, "_name", None)
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif name in _WRAPPERS and get_args(annotation):
            annotation = get_args(annotation)[0]
        elif type(origin or annotation).__name__ == "TypeAliasType":
            value = (origin or annotation).__value__
            annotation = value[get_args(annotation)] if origin else value
        else:
            return annotation


def _passing(hooks: Hooks) -> Decode:
    """Return a decode that leaves instances as they are; encoding them shows whether they fit."""
    decode, instances = hooks.decode, hooks.python - ANYTHING
    return lambda value: value if type(value) in instances else decode(value)


def _refused(annotation: Any) -> Hooks:
    name = shown(annotation)
    if isinstance(annotation, (str, ForwardRef)):
        raise TypeError(f"the annotation {annotation!r} is not resolved: what it names is not there")
    origin = get_origin(annotation) or annotation
    plain = getattr(origin, "__name__", None) or getattr(origin, "_name", None)
    raise TypeError(f"{name}: {_REASONS.get(str(plain), _NO_FORM)}")
