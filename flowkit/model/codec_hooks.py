"""The two functions that convert the values of one annotation, with what unions and keys need to know of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from flowkit.model.codec_annotations import NONE
from flowkit.model.codec_problems import Misfit, Unfit, described, quoted, unfit

Structure = Callable[[Any, Any], Any]
Unstructure = Callable[[Any], Any]
Kinds = frozenset[type]

ANYTHING: Kinds = frozenset({dict, list, str, int, float, bool, NONE})
"""All types of JSON."""
DICT: Kinds = frozenset({dict})
SCALAR: Kinds = ANYTHING - {dict, list}
"""The types of JSON that nothing lies in."""
NATIVE = (str, int, bool, NONE)
"""The types that are themselves in JSON, and take nothing else."""


@attrs.frozen(eq=False)
class Hooks:
    """Both hooks of an annotation; the second never raises, but gives a ``Misfit``.

    Attributes:
        json: the types of JSON that its values become; empty when only a user's hook knows.
        python: the exact types of its values; empty when only a user's hook knows.
        choices: all JSON values it may become, where they are few.
        keys: the keys of its JSON object, where it is a class that a tag can be added to.
    """

    structure: Structure
    unstructure: Unstructure
    json: Kinds
    python: Kinds
    choices: tuple[Any, ...] = ()
    keys: frozenset[str] | None = None


Find = Callable[[Any], Hooks]
"""Finds the hooks of an annotation; raises TypeError when its values could not be stored."""


def coded(cls: type, kinds: Kinds, to_json: Unstructure, from_json: Callable[[Any], Any]) -> Hooks:
    """Return the hooks of a type whose values become JSON of *kinds*; both functions may raise anything."""
    name = cls.__name__.replace("Posix", "").replace("Windows", "")

    def structure(value: Any, _: Any) -> Any:
        if type(value) not in kinds:
            raise unfit(name, value)
        try:
            return from_json(value)
        except Unfit:
            raise
        except Exception as error:
            text = described(error) if type(value) is dict else f"expected {name}, got {quoted(value)}"
            raise Unfit([("", text)]) from None

    def unstructure(value: Any) -> Any:
        if type(value) is not cls:
            return Misfit(value)
        try:
            return to_json(value)
        except Exception as error:
            return Misfit(value, str(error))

    return Hooks(structure, unstructure, kinds, frozenset({cls}))


def container(python_name: str, json_name: str, python: type, json: type, read: Structure, write: Unstructure) -> Hooks:
    """Return hooks that check the type of a value before *read* or *write* looks inside."""

    def structure(value: Any, _: Any) -> Any:
        if type(value) is json:
            return read(value, None)
        raise unfit(python_name if type(value) is Misfit else json_name, value)

    def unstructure(value: Any) -> Any:
        return write(value) if type(value) is python else Misfit(value)

    return Hooks(structure, unstructure, frozenset({json}), frozenset({python}))


def passing(hooks: Hooks) -> Hooks:
    """Return hooks that leave instances as they are; encoding them shows whether they fit."""
    structure, instances = hooks.structure, hooks.python - ANYTHING
    if not instances:
        return hooks
    return attrs.evolve(hooks, structure=lambda value, _: value if type(value) in instances else structure(value, _))
