"""Models of pydantic and msgspec, where the program uses one of them: their own JSON mode does the work."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from flowkit.model.codec_hooks import Definitions, Hooks, Tagged, fixed
from flowkit.model.codec_problems import Problem, Unfit, described, key_step, unfit


def foreign_hooks(annotation: Any) -> Hooks | None:
    """Return the hooks of a pydantic model or a msgspec Struct, or None if it is neither; imports neither."""
    pydantic, msgspec = sys.modules.get("pydantic"), sys.modules.get("msgspec")
    if pydantic is not None and _derives(annotation, getattr(pydantic, "BaseModel", None)):
        return _pydantic_hooks(annotation)
    if msgspec is not None and _derives(annotation, getattr(msgspec, "Struct", None)):
        return _msgspec_hooks(annotation, msgspec)
    return None


def _derives(annotation: Any, base: Any) -> bool:
    return isinstance(annotation, type) and isinstance(base, type) and issubclass(annotation, base)


def _pydantic_hooks(cls: Any) -> Hooks:
    def to_json(value: Any) -> Any:
        return value.model_dump(mode="json", by_alias=True, warnings=False)

    def from_json(value: Any) -> Any:
        try:
            return cls.model_validate_json(json.dumps(value), strict=True)
        except Exception as error:
            raise Unfit(_pydantic_problems(error)) from None

    is_object = not any(base.__name__ == "RootModel" for base in cls.__mro__)
    return _hooks(cls, to_json, from_json, keys=frozenset(cls.model_fields) if is_object else None)


def _pydantic_problems(error: Any) -> list[Problem]:
    if not callable(getattr(error, "errors", None)):
        return [("", described(error))]
    return [
        ("".join(f"[{step}]" if isinstance(step, int) else key_step(step) for step in found["loc"]), found["msg"])
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _msgspec_hooks(cls: Any, msgspec: Any) -> Hooks:
    def to_json(value: Any) -> Any:
        return json.loads(msgspec.json.encode(value))

    def from_json(value: Any) -> Any:
        try:
            return msgspec.json.decode(json.dumps(value), type=cls, strict=True)
        except msgspec.ValidationError as error:
            text, _, path = str(error).partition(" - at `$")
            raise Unfit([(path.rstrip("`"), text)]) from None

    keys = None if cls.__struct_config__.array_like else frozenset(cls.__struct_encode_fields__)
    return _hooks(cls, to_json, from_json, keys=keys)


def _hooks(
    cls: type, to_json: Callable[[Any], Any], from_json: Callable[[Any], Any], *, keys: frozenset[str] | None
) -> Hooks:
    def encode(value: Any) -> Any:
        if type(value) is not cls:
            raise unfit(cls.__name__, value)
        made = to_json(value)
        # What a model leaves out, or writes in a way that it does not read, must be refused while it is at hand.
        if from_json(made) != value:
            raise Unfit([("", f"{cls.__name__} would come back changed from its own JSON")])
        return made

    def decode(value: Any) -> Any:
        if keys is not None and type(value) is not dict:
            raise unfit(cls.__name__, value)
        return from_json(value)

    def schema(definitions: Definitions, tag: str) -> dict[str, Any]:
        made = {"type": "object", "title": cls.__name__}
        return made | {"properties": {"_type": {"const": tag}}, "required": ["_type"]} if tag else made

    if keys is None:
        return Hooks(cls.__name__, encode, decode, frozenset(), frozenset({cls}), fixed(title=cls.__name__))
    tagged = Tagged(cls, keys, schema)
    kinds: frozenset[type] = frozenset({dict})
    return Hooks(cls.__name__, encode, decode, kinds, frozenset({cls}), lambda defs: schema(defs, ""), tagged=tagged)
