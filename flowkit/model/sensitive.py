"""Marks values that are stored and handed on, but shown to nobody: not in messages, and not on a command line."""

from __future__ import annotations

from typing import Any, get_args

import attrs

HIDDEN = "***"
"""What is shown instead."""

_KEY = "flowkit.sensitive"


@attrs.frozen
class Sensitive:
    """Marks an annotation whose values are not to be shown: ``Annotated[str, Sensitive()]``."""


def sensitive() -> dict[str, bool]:
    """Mark a field of an attrs class or a dataclass: ``attrs.field(metadata=sensitive())``.

    Its value is stored and handed on as any other. No message of flowkit shows it, and the command line prints ``***``
    unless told to ``--reveal``. What executors and observers print themselves is up to them; ``repr=False`` keeps a
    field out of the class's own text.
    """
    return {_KEY: True}


def is_marked(field: Any) -> bool:
    """Whether a field, as attrs or dataclasses have it, is marked."""
    return bool(field.metadata.get(_KEY))


def is_sensitive(annotation: Any) -> bool:
    """Whether an annotation is marked itself."""
    return any(one is Sensitive or isinstance(one, Sensitive) for one in getattr(annotation, "__metadata__", ()))


def unmarked(annotation: Any) -> Any:
    """Return what a marked annotation annotates."""
    return get_args(annotation)[0]


SCHEMA = {"writeOnly": True}
"""How JSON Schema says it: may be written, and is never told."""


def names_in(schema: Any) -> set[str]:
    """Return the names of all properties that a schema says are not to be shown."""
    if isinstance(schema, list):
        return {name for one in schema for name in names_in(one)}
    if not isinstance(schema, dict):
        return set()
    properties = schema.get("properties")
    found = {name for name, one in properties.items() if _hides(one)} if isinstance(properties, dict) else set()
    return found | {name for one in schema.values() for name in names_in(one)}


def redacted(value: Any, schema: Any, names: frozenset[str] = frozenset()) -> Any:
    """Return a JSON value with ``***`` in place of what is not to be shown.

    Args:
        schema: of the value; None or empty where nothing is known of it.
        names: of properties that are not shown wherever they stand.
    """
    return _Curtain(schema if isinstance(schema, dict) else {}, names).draw(value, schema)


def _hides(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("writeOnly") is True


@attrs.frozen
class _Curtain:
    _document: dict[str, Any]
    _names: frozenset[str]

    def draw(self, value: Any, schema: Any) -> Any:
        schema = schema if isinstance(schema, dict) else {}
        if _hides(schema):
            return value if value is None else HIDDEN
        if "$ref" in schema:
            name = str(schema["$ref"]).rpartition("/")[2]
            return self.draw(value, self._document.get("$defs", {}).get(name))
        for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
            value = self.draw(value, branch)
        if type(value) is dict:
            return {key: self._property(key, item, schema) for key, item in value.items()}
        if type(value) is list:
            first, rest = schema.get("prefixItems", ()), schema.get("items")
            return [self.draw(item, first[at] if at < len(first) else rest) for at, item in enumerate(value)]
        return value

    def _property(self, key: str, value: Any, schema: dict[str, Any]) -> Any:
        if key in self._names:
            return value if value is None else HIDDEN
        properties = schema.get("properties", {})
        return self.draw(value, properties.get(key, schema.get("additionalProperties")))
