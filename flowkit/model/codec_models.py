"""Models of pydantic and msgspec, which go by their own JSON, where these libraries are loaded."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import attrs

from flowkit.model.codec_hooks import ANYTHING, DICT, Hooks, Unstructure, coded
from flowkit.model.codec_problems import Problem, Unfit, described, key_step


def model_hooks(cls: Any) -> Hooks:
    """Return the hooks of a pydantic model or a msgspec Struct."""
    pydantic, msgspec = sys.modules.get("pydantic"), sys.modules.get("msgspec")
    keys: Any
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        keys = None if any(base.__name__ == "RootModel" for base in cls.__mro__) else frozenset(cls.model_fields)
        to_json, from_json = _by_pydantic(cls)
    else:
        assert msgspec is not None
        keys = None if cls.__struct_config__.array_like else frozenset(cls.__struct_encode_fields__)
        to_json, from_json = _by_msgspec(cls, msgspec)

    def proven(value: Any) -> Any:
        made = to_json(value)
        # What a model leaves out, or writes in a way that it does not read, must be refused while it is at hand.
        if from_json(made) != value:
            raise ValueError(f"{cls.__name__} would come back changed from its own JSON")
        return made

    if keys is not None:
        return attrs.evolve(coded(cls, DICT, proven, from_json), keys=keys)
    return attrs.evolve(coded(cls, ANYTHING, proven, from_json), json=frozenset())


def _by_pydantic(cls: Any) -> tuple[Unstructure, Callable[[Any], Any]]:
    def from_json(value: Any) -> Any:
        try:
            return cls.model_validate_json(json.dumps(value), strict=True)
        except Exception as error:
            errors: Any = getattr(error, "errors", list)
            raise Unfit([_pydantic_problem(found) for found in errors()] or [("", described(error))]) from None

    return lambda value: value.model_dump(mode="json", by_alias=True, warnings=False), from_json


def _pydantic_problem(found: Any) -> Problem:
    return "".join(f"[{step}]" if isinstance(step, int) else key_step(step) for step in found["loc"]), found["msg"]


def _by_msgspec(cls: Any, msgspec: Any) -> tuple[Unstructure, Callable[[Any], Any]]:
    def from_json(value: Any) -> Any:
        try:
            return msgspec.json.decode(json.dumps(value), type=cls, strict=True)
        except msgspec.ValidationError as error:
            text, _, path = str(error).partition(" - at `$")
            raise Unfit([(path.rstrip("`"), text)]) from None

    return lambda value: json.loads(msgspec.json.encode(value)), from_json
