"""What the codec knows about one annotation: how its values become JSON, and how they come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, get_origin

import attrs

Encode = Callable[[Any], Any]
Decode = Callable[[Any], Any]

ANYTHING: frozenset[type] = frozenset({dict, list, str, int, float, bool, type(None)})
"""The types of JSON values."""


class Definitions:
    """The ``$defs`` of a JSON Schema while it is being made; each class stands in it once."""

    def __init__(self) -> None:
        self.bodies: dict[str, dict[str, Any]] = {}
        self._names: dict[tuple[Any, str], str] = {}

    def refer(self, key: tuple[Any, str], name: str, body: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a reference to the definition under *key*, making it on first sight; it may refer to itself."""
        if key not in self._names:
            same = sum(1 for other in self.bodies if other.split("~")[0] == name)
            self._names[key] = f"{name}~{same + 1}" if same else name
            self.bodies[self._names[key]] = {}
            self.bodies[self._names[key]].update(body())
        return {"$ref": f"#/$defs/{self._names[key]}"}


Schema = Callable[[Definitions], dict[str, Any]]


def fixed(**schema: Any) -> Schema:
    """Return the schema of a type that refers to no other."""
    return lambda definitions: dict(schema)


@attrs.frozen(eq=False)
class Tagged:
    """What a class needs to be told apart from others in a union.

    Attributes:
        cls: the class; its name is the tag.
        keys: the keys of its JSON object, which must not be the tag's own.
        schema: makes its schema with the tag in it.
    """

    cls: type
    keys: frozenset[str]
    schema: Callable[[Definitions, str], dict[str, Any]]


@attrs.frozen(eq=False)
class Hooks:
    """Both directions of one annotation.

    Attributes:
        name: the annotation, for messages.
        encode: a value to JSON; raises ``Unfit`` for a value of another type.
        decode: JSON to a value; raises ``Unfit`` unless it fits exactly.
        json: the types of JSON it may become; empty when only a user's hook knows.
        python: the exact types of its values; empty when only a user's hook knows.
        schema: its JSON Schema.
        plain: the value itself is the JSON.
        choices: all JSON values it may become, where they are few.
        tagged: set for classes that are JSON objects.
    """

    name: str
    encode: Encode
    decode: Decode
    json: frozenset[type]
    python: frozenset[type]
    schema: Schema
    plain: bool = False
    choices: tuple[Any, ...] = ()
    tagged: Tagged | None = None


Find = Callable[[Any], Hooks]
"""Finds the hooks of an annotation; raises ``TypeError`` where there can be none."""


def same(value: Any) -> Any:
    """Return the value: it is JSON already, or the gate will say that it is not."""
    return value


PLAIN_JSON = Hooks("Any", same, same, ANYTHING, ANYTHING, fixed(), plain=True)


def shown(annotation: Any) -> str:
    """Write an annotation as a reader would: ``dict[str, Item | None]``."""
    if annotation is type(None) or annotation is None:
        return "None"
    if annotation is ...:
        return "..."
    origin, args = get_origin(annotation), get_args(annotation)
    name = getattr(origin or annotation, "__name__", None)
    if name in ("Union", "UnionType"):
        return " | ".join(shown(arg) for arg in args)
    if name == "Literal" or not isinstance(name, str):
        return repr(annotation).replace("typing.", "")
    if not args:
        return name
    inside = ", ".join(f"[{', '.join(map(shown, arg))}]" if isinstance(arg, list) else shown(arg) for arg in args)
    return f"{name}[{inside}]"
