"""Finds the hooks of annotations, each made once: cattrs' generated code with strict hooks below the user's own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, get_args

import attrs
import cattrs
from cattrs.fns import identity

from flowkit.model.codec_annotations import kind_of, origin_of, shown, simplified
from flowkit.model.codec_collections import dict_hooks, list_hooks
from flowkit.model.codec_hooks import ANYTHING, DICT, Hooks, passing
from flowkit.model.codec_models import model_hooks
from flowkit.model.codec_records import class_hooks, tuple_hooks, typed_dict_hooks
from flowkit.model.codec_scalars import SCALARS, choice
from flowkit.model.codec_sensitive import sensitive_hooks
from flowkit.model.codec_unions import union_hooks
from flowkit.model.codec_user import UserHooks, copied
from flowkit.model.schema import fields_of

_FILE = "an open file cannot be stored; pass its Path, or store it as an artifact"
_ITERATOR = "an iterator cannot be stored; make it a list"
_REASONS = {
    "Callable": "a function cannot be stored; pass the values that it would use",
    "IO": _FILE,
    "TextIO": _FILE,
    "BinaryIO": _FILE,
    "Iterator": _ITERATOR,
    "Generator": _ITERATOR,
}
_NO_FORM = "it has no JSON form; use an attrs class or a dataclass, or give Runtime a converter with hooks for it"


class Compiler:
    """Makes the hooks of annotations, each once.

    Args:
        converter: a cattrs converter whose hooks go first; it is copied.
        takes_instances: structuring lets values pass that are instances already.
    """

    def __init__(self, converter: cattrs.Converter | None, *, takes_instances: bool) -> None:
        self._takes_instances = takes_instances
        self._lock = threading.RLock()
        self._made: dict[Any, Hooks] = {}
        self._finished: dict[Any, Hooks] = {}  # without the classes that are at hand, which other threads must not see
        self._user = UserHooks(converter)
        self._converter = made = copied(converter or cattrs.Converter())
        made.register_structure_hook_factory(lambda t: not self._user.read(t), lambda t: self.find(t).structure)
        made.register_unstructure_hook_factory(lambda t: not self._user.write(t), lambda t: self.find(t).unstructure)
        for scalar in SCALARS:
            self.find(scalar)

    def is_own(self, annotation: Any) -> bool:
        """Whether the user's converter has a hook of its own for an annotation."""
        return self._user.read(annotation) or self._user.write(annotation)

    def find(self, annotation: Any) -> Hooks:
        """Return the hooks of an annotation.

        Raises:
            TypeError: its values could not be stored.
        """
        try:
            return self._finished[annotation]
        except (KeyError, TypeError):  # not made yet, or an Annotated that carries what cannot be hashed
            pass
        with self._lock:
            is_outermost = len(self._made) == len(self._finished)
            annotation = simplified(annotation, self.is_own)
            if annotation not in self._made:
                self._make_or_forget(annotation)
            if is_outermost:
                self._finished.update(self._made)
            return self._made[annotation]

    def _make_or_forget(self, annotation: Any) -> None:
        before = set(self._made)
        try:
            self._make(annotation)
        except BaseException:
            # What was made on the way may point to what was not.
            for made in self._made.keys() - before - self._finished.keys():
                del self._made[made]
            raise

    def _make(self, annotation: Any) -> None:
        kind, cls = kind_of(annotation), origin_of(annotation)
        if kind in ("class", "typeddict"):
            self._made[annotation] = self._later(annotation, cls)
        own = self.is_own(annotation)
        made = self._by_user(annotation) if own else self._by_kind(annotation, kind)
        if self._takes_instances:
            made = passing(made)
        if isinstance(annotation, type) and cls is annotation and (own or kind == "enum" or annotation in SCALARS):
            # cattrs asks for classes first, where str also takes an Enum of str.
            self._converter.register_structure_hook(annotation, made.structure)
            self._converter.register_unstructure_hook(annotation, made.unstructure)
        self._made[annotation] = made

    def _later(self, annotation: Any, cls: type) -> Hooks:
        """Return hooks for a class that refers to itself: they ask for the finished ones when they are called."""
        made, is_class = self._made, kind_of(annotation) == "class"
        return Hooks(
            lambda value, _: made[annotation].structure(value, _),
            lambda value: made[annotation].unstructure(value),
            DICT,
            frozenset({cls if is_class else dict}),
            keys=frozenset() if is_class else None,
        )

    def _by_user(self, annotation: Any) -> Hooks:
        kind, python = kind_of(annotation), frozenset({annotation} if isinstance(annotation, type) else ())
        if not self._user.read(annotation):
            return attrs.evolve(
                self._by_kind(annotation, kind),
                unstructure=self._converter.get_unstructure_hook(annotation),
                json=frozenset(),
                keys=None,
            )
        for field in fields_of(annotation) if kind == "class" else ():
            with contextlib.suppress(TypeError):  # what has no form is refused when the user's hook meets it
                self.find(field.type)
        read = self._converter.get_structure_hook(annotation)
        write = (
            self._converter.get_unstructure_hook(annotation)
            if self._user.write(annotation)
            else self._by_kind(annotation, kind).unstructure
        )
        return Hooks(lambda value, _: read(value, annotation), write, frozenset(), python)

    def _by_kind(self, annotation: Any, kind: str) -> Hooks:
        find, converter = self.find, self._converter
        if annotation in SCALARS:
            return SCALARS[annotation]
        if kind == "tuple" and get_args(annotation)[1:] == (...,):
            kind = "list"
        makers: dict[str, Callable[[Any], Hooks]] = {
            "any": lambda t: Hooks(lambda value, _: value, identity, ANYTHING, ANYTHING),
            "enum": choice,
            "literal": choice,
            "model": model_hooks,
            "union": lambda t: union_hooks(t, find),
            "list": lambda t: list_hooks(t, find, converter),
            "set": lambda t: list_hooks(t, find, converter),
            "dict": lambda t: dict_hooks(t, find, converter),
            "tuple": lambda t: tuple_hooks(t, find, converter),
            "namedtuple": lambda t: tuple_hooks(t, find, converter),
            "class": lambda t: class_hooks(t, find, converter),
            "typeddict": lambda t: typed_dict_hooks(t, find, converter),
            "sensitive": lambda t: sensitive_hooks(t, find),
        }
        return makers.get(kind, _refused)(annotation)


def _refused(annotation: Any) -> Hooks:
    if isinstance(annotation, str) or type(annotation).__name__ == "ForwardRef":
        raise TypeError(f"the annotation {annotation!r} is not resolved: what it names is not there")
    plain = getattr(origin_of(annotation), "__name__", None) or getattr(origin_of(annotation), "_name", None)
    raise TypeError(f"{shown(annotation)}: {_REASONS.get(str(plain), _NO_FORM)}")
