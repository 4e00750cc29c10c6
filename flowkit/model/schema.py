"""The fields of classes, and the JSON Schema (draft 2020-12) of an annotation, as operators and forms see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

import attrs

from flowkit.model.codec_annotations import NONE, TAG, Keep, choices_of, kind_of, origin_of, shown, simplified
from flowkit.model.sensitive import SCHEMA, Sensitive, is_marked, is_sensitive, unmarked

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NONE: {"type": "null"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    UUID: {"type": "string", "format": "uuid"},
    time: {"type": "string", "format": "time"},
    timedelta: {"type": "number", "description": "seconds"},
}


@attrs.frozen
class Field:
    """A field of a class or an element of a tuple: its name, its key in JSON, its annotation and its default."""

    name: str
    key: str
    type: Any
    required: bool = True
    default: Any = ...


def fields_of(annotation: Any) -> list[Field]:
    """Return the fields of a class, TypedDict, NamedTuple or tuple of known length, type variables replaced.

    Raises:
        TypeError: an annotation names something that is not there, or one variable stands for two types.
    """
    cls = origin_of(annotation)
    if cls is tuple:
        return [Field(f"f{at}", str(at), type) for at, type in enumerate(get_args(annotation))]
    try:
        hints = get_type_hints(cls, localns={cls.__name__: cls}, include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise TypeError(f"{cls.__name__}: an annotation cannot be resolved: {error}") from None
    arguments = _arguments(annotation)
    types = {name: _substituted(hint, arguments) for name, hint in hints.items() if get_origin(hint) is not ClassVar}
    kind = kind_of(annotation)
    if kind == "namedtuple":
        return [Field(n, n, types.get(n, Any), n not in cls._field_defaults) for n in cls._fields]
    if kind == "typeddict":
        return [
            Field(f"f{at}", k, t, _required(t, k in cls.__required_keys__)) for at, (k, t) in enumerate(types.items())
        ]
    for name, hint in types.items():
        if isinstance(hint, dataclasses.InitVar) and not hasattr(cls, name):
            raise TypeError(f"{cls.__name__}.{name}: an InitVar is not kept, so the class could not be made again")
    return [_field(field, types) for field in own_fields(cls) if field.init]


def own_fields(cls: Any) -> list[Any]:
    """Return the fields of an attrs class or a dataclass, as its library has them."""
    return list(attrs.fields(cls) if attrs.has(cls) else dataclasses.fields(cls))


def _field(field: Any, types: Mapping[str, Any]) -> Field:
    # attrs takes types without an annotation too; what has neither is plain JSON.
    annotation = types.get(field.name, Any if field.type is None else field.type)
    missing = (attrs.NOTHING, dataclasses.MISSING)
    made = getattr(field, "default_factory", dataclasses.MISSING) is not dataclasses.MISSING
    default = attrs.NOTHING if any(field.default is nothing for nothing in missing) else field.default
    value = ... if default is attrs.NOTHING or type(default) is type(attrs.Factory(list)) else default
    if is_marked(field):
        annotation = Annotated[annotation, Sensitive()]
    return Field(
        field.name,
        getattr(field, "alias", None) or field.name,
        annotation,
        default is attrs.NOTHING and not made,
        value,
    )


def _required(annotation: Any, usual: bool) -> bool:
    origin = get_origin(annotation)
    name = getattr(origin, "__name__", None) or getattr(origin, "_name", None)
    if name in ("Required", "NotRequired"):
        return str(name) == "Required"
    return _required(get_args(annotation)[0], usual) if name in ("ReadOnly", "Annotated") else usual


def _arguments(annotation: Any) -> dict[Any, Any]:
    """Return what the type variables of a generic class stand for, those of its bases included."""
    cls = origin_of(annotation)
    found: dict[Any, Any] = dict(zip(getattr(cls, "__parameters__", ()), get_args(annotation)))
    for base in getattr(cls, "__orig_bases__", ()):
        if not isinstance(get_origin(base), type) or not getattr(get_origin(base), "__parameters__", ()):
            continue
        for variable, meaning in _arguments(_substituted(base, found)).items():
            if found.setdefault(variable, meaning) != meaning:
                raise TypeError(f"{cls.__name__}: the type variable {variable} stands for two types; rename one")
    return found


def _substituted(annotation: Any, arguments: Mapping[Any, Any]) -> Any:
    if isinstance(annotation, TypeVar):
        return arguments.get(annotation, annotation)
    variables = getattr(annotation, "__parameters__", ())
    if not arguments or not variables or isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation
    return annotation[tuple(arguments.get(variable, variable) for variable in variables)]


class Document:
    """The schema of one annotation, with the classes it names under ``$defs``.

    Args:
        keep: annotations of which nothing is known.
        encode: a default and its annotation to JSON; may raise anything.
    """

    def __init__(self, keep: Keep, encode: Callable[[Any, Any], Any]) -> None:
        self._keep, self._encode = keep, encode
        self._names: dict[tuple[Any, str], str] = {}
        self._bodies: dict[str, dict[str, Any]] = {}

    def of(self, annotation: Any) -> dict[str, Any]:
        """Return the whole document; empty where nothing is known."""
        root = self._schema(annotation)
        return {"$schema": DIALECT, **root, **({"$defs": self._bodies} if self._bodies else {})} if root else {}

    def _schema(self, annotation: Any) -> dict[str, Any]:
        annotation = simplified(annotation, self._keep)
        kind, args = kind_of(annotation), get_args(annotation)
        if kind == "sensitive":
            return {**self._schema(unmarked(annotation)), **SCHEMA}
        if self._keep(annotation) or kind == "any":
            return {}
        if not kind:
            return dict(_SCALARS.get(annotation, {"type": "string"}))
        if kind in ("enum", "literal"):
            return {"enum": [json for json, _ in choices_of(annotation)]}
        if kind == "union":
            return self._union(args)
        if kind in ("class", "typeddict", "model"):
            return self._class(annotation, "")
        if kind == "dict":
            made = {"type": "object", "additionalProperties": self._schema(args[1])}
            return made if args[0] is str else made | {"propertyNames": {"description": shown(args[0])}}
        if kind == "namedtuple" or kind == "tuple" and ... not in args:
            return self._tuple(fields_of(annotation))
        return {"type": "array", "items": self._schema(args[0])} | ({"uniqueItems": True} if kind == "set" else {})

    def _union(self, args: tuple[Any, ...]) -> dict[str, Any]:
        classes = [arg for arg in args if self._is_class(arg)]
        if Any in args or len(classes) < 2:
            branches = [self._schema(arg) for arg in args]
            return {"anyOf": branches} if all(branches) else {}
        tagged = {"oneOf": [self._class(cls, origin_of(cls).__name__) for cls in classes]}
        others = [self._schema(arg) for arg in args if arg not in classes and arg is not NONE]
        others += [tagged] + ([self._schema(NONE)] if NONE in args else [])
        return {"anyOf": others} if len(others) > 1 else tagged

    def _is_class(self, annotation: Any) -> bool:
        return not self._keep(annotation) and (kind_of(annotation) in ("class", "model"))

    def _tuple(self, fields: list[Field]) -> dict[str, Any]:
        least = sum(field.required for field in fields)
        prefix = [self._schema(field.type) for field in fields]
        return {"type": "array", "prefixItems": prefix, "minItems": least, "maxItems": len(fields)}

    def _class(self, annotation: Any, tag: str) -> dict[str, Any]:
        """Return a reference to the definition of a class, which may refer to itself."""
        key, name = (annotation, tag), origin_of(annotation).__name__
        if key not in self._names:
            same = sum(1 for other in self._bodies if other.split("~")[0] == name)
            self._names[key] = f"{name}~{same + 1}" if same else name
            body = self._bodies[self._names[key]] = {"type": "object", "title": name}
            is_model = kind_of(annotation) == "model"
            fields = [] if is_model else fields_of(annotation)
            properties = {TAG: {"const": tag}} if tag else {}
            body["properties"] = properties | {field.key: self._property(field) for field in fields}
            required = ([TAG] if tag else []) + [field.key for field in fields if field.required]
            body |= {"required": required} if required else {}
            body |= {} if is_model else {"additionalProperties": False}
        return {"$ref": f"#/$defs/{self._names[key]}"}

    def _property(self, field: Field) -> dict[str, Any]:
        schema = self._schema(field.type)
        if field.default is ... or is_sensitive(field.type):
            return schema
        try:
            return schema | {"default": self._encode(field.default, field.type)}
        except Exception:  # a default that does not fit its own annotation says nothing to a reader
            return schema
