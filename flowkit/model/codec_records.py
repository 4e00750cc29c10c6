"""Classes with named fields: attrs, dataclasses and TypedDicts are JSON objects, NamedTuples are arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

import attrs

from flowkit.model.codec_collections import fixed_hooks
from flowkit.model.codec_generics import substituted, type_arguments
from flowkit.model.codec_hooks import Definitions, Find, Hooks, Tagged, shown
from flowkit.model.codec_problems import (
    MAX_PROBLEMS,
    MISSING,
    Problem,
    Unfit,
    below,
    described,
    key_step,
    unfit,
    unknown_field,
)

TAG = "_type"
"""The key that says which class of a union an object is."""

_DICT: frozenset[type] = frozenset({dict})
_NO_DEFAULT = object()


@attrs.frozen(eq=False)
class Field:
    """One field of a class.

    Attributes:
        attribute: its name on an instance.
        key: its name in JSON and for the constructor.
        hooks: of its annotation.
        required: it has no default.
        default: the default, where it is a plain value.
    """

    attribute: str
    key: str
    hooks: Hooks
    required: bool
    default: Any = _NO_DEFAULT


def record_class(annotation: Any) -> type | None:
    """Return the attrs class or dataclass that an annotation names, with or without type arguments."""
    cls = get_origin(annotation) or annotation
    return cls if isinstance(cls, type) and (attrs.has(cls) or dataclasses.is_dataclass(cls)) else None


def class_hooks(annotation: Any, cls: type, find: Find) -> Hooks:
    """Return the hooks of an attrs class or a dataclass."""
    types = field_types(annotation, cls)
    for name, hint in types.items():
        if isinstance(hint, dataclasses.InitVar) and not hasattr(cls, name):
            raise TypeError(f"{cls.__name__}.{name}: an InitVar is not kept, so the class could not be made again")
    own: list[Any] = list(attrs.fields(cls) if attrs.has(cls) else dataclasses.fields(cls))
    fields = [_field(cls, field, types, find) for field in own if field.init]
    decode = _decode_with(cls, fields)
    encode = _encode_with(cls, fields)
    if _may_differ(cls, own):
        encode = _proven(encode, decode, fields, [field.name for field in own if not field.init and _counts(field)])
    tagged = _tagged(annotation, cls, fields)
    return Hooks(
        shown(annotation), encode, decode, _DICT, frozenset({cls}), lambda defs: tagged.schema(defs, ""), tagged=tagged
    )


def is_namedtuple(annotation: Any) -> bool:
    """Whether it is a class made by ``NamedTuple`` or ``namedtuple``."""
    cls = get_origin(annotation) or annotation
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def namedtuple_hooks(annotation: Any, find: Find) -> Hooks:
    """Return the hooks of a NamedTuple: an array, as everywhere in JSON."""
    cls: Any = get_origin(annotation) or annotation
    types = field_types(annotation, cls)
    items = [_found(find, types.get(name, Any), cls, name) for name in cls._fields]
    return fixed_hooks(annotation, cls, items, required=len(items) - len(cls._field_defaults))


def is_typed_dict(annotation: Any) -> bool:
    """Whether it is a TypedDict."""
    cls = get_origin(annotation) or annotation
    return isinstance(cls, type) and issubclass(cls, dict) and hasattr(cls, "__required_keys__")


def typed_dict_hooks(annotation: Any, find: Find) -> Hooks:
    """Return the hooks of a TypedDict: a dict whose keys are known."""
    cls: Any = get_origin(annotation) or annotation
    fields = []
    for key, annotated in field_types(annotation, cls).items():
        marks = _marks(annotated)
        required = key in cls.__required_keys__ if not marks else "Required" in marks
        fields.append(Field(key, key, _found(find, annotated, cls, key), required))
    tagged = _tagged(annotation, cls, fields)
    decode = _dict_with(cls.__name__, fields, [(field.key, field.hooks.decode) for field in fields])
    encode = _dict_with(cls.__name__, fields, [(field.key, field.hooks.encode) for field in fields])
    return Hooks(cls.__name__, encode, decode, _DICT, _DICT, lambda defs: tagged.schema(defs, ""))


def _marks(annotation: Any) -> set[str]:
    origin = get_origin(annotation)
    name = getattr(origin, "__name__", None) or getattr(origin, "_name", None)
    if name in ("Required", "NotRequired"):
        return {name}
    return _marks(get_args(annotation)[0]) if name in ("ReadOnly", "Annotated") else set()


def field_types(annotation: Any, cls: type) -> dict[str, Any]:
    """Return the resolved annotations of a class's fields, its type variables replaced.

    Raises:
        TypeError: one of them names something that is not there.
    """
    try:
        hints = get_type_hints(cls, localns={cls.__name__: cls}, include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise TypeError(f"{cls.__name__}: an annotation cannot be resolved: {error}") from None
    arguments = type_arguments(annotation)
    return {name: substituted(hint, arguments) for name, hint in hints.items() if get_origin(hint) is not ClassVar}


def _found(find: Find, annotation: Any, cls: type, name: str) -> Hooks:
    try:
        return find(annotation)
    except TypeError as error:
        raise TypeError(f"{cls.__name__}.{name}: {error}") from None


def _field(cls: type, field: Any, types: dict[str, Any], find: Find) -> Field:
    # attrs takes types without an annotation too; what has neither is plain JSON.
    annotation = types.get(field.name, Any if field.type is None else field.type)
    has_default = not any(field.default is absent for absent in (attrs.NOTHING, dataclasses.MISSING))
    has_factory = getattr(field, "default_factory", dataclasses.MISSING) is not dataclasses.MISSING
    is_value = has_default and type(field.default) is not type(attrs.Factory(list))
    return Field(
        attribute=field.name,
        key=getattr(field, "alias", None) or field.name,
        hooks=_found(find, annotation, cls, field.name),
        required=not has_default and not has_factory,
        default=field.default if is_value else _NO_DEFAULT,
    )


def _encode_with(cls: type, fields: list[Field]) -> Callable[[Any], dict[str, Any]]:
    parts = [(field.attribute, field.key, field.hooks.encode) for field in fields]

    def encode(value: Any) -> dict[str, Any]:
        if type(value) is not cls:
            raise unfit(cls.__name__, value)
        made: dict[str, Any] = {}
        problems: list[Problem] = []
        for attribute, key, convert in parts:
            try:
                made[key] = convert(getattr(value, attribute))
            except Exception as error:
                problems += below(key_step(key), error)
                if len(problems) > MAX_PROBLEMS:
                    break
        if problems:
            raise Unfit(problems)
        return made

    return encode


def _dict_with(
    name: str, fields: list[Field], parts: list[tuple[str, Callable[[Any], Any]]]
) -> Callable[[Any], dict[str, Any]]:
    """Return a function that converts a dict with exactly these fields."""
    required = [field.key for field in fields if field.required]
    known = [field.key for field in fields]

    def convert_all(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise unfit(name, value)
        made: dict[str, Any] = {}
        problems: list[Problem] = []
        for key, convert in parts:
            if key in value:
                try:
                    made[key] = convert(value[key])
                except Exception as error:
                    problems += below(key_step(key), error)
                    made[key] = None
        if len(made) != len(parts):
            problems += [(key_step(key), MISSING) for key in required if key not in made]
        if len(made) != len(value):
            problems += [unknown_field(key, known) for key in value if key not in made]
        if problems:
            raise Unfit(problems)
        return made

    return convert_all


def _decode_with(cls: type, fields: list[Field]) -> Callable[[Any], Any]:
    convert_all = _dict_with(cls.__name__, fields, [(field.key, field.hooks.decode) for field in fields])

    def decode(value: Any) -> Any:
        made = convert_all(value)
        try:
            return cls(**made)
        except Exception as error:
            raise Unfit([("", described(error))]) from None

    return decode


def _may_differ(cls: type, own: list[Any]) -> bool:
    """Whether code of the class runs when it is made, so that only trying shows what comes back."""
    hand_made = hasattr(cls, "__attrs_init__") or not getattr(getattr(cls, "__dataclass_params__", None), "init", True)
    hooked = any(hasattr(cls, name) for name in ("__attrs_pre_init__", "__attrs_post_init__", "__post_init__"))
    return hand_made or hooked or any(not field.init or getattr(field, "converter", None) for field in own)


def _counts(field: Any) -> bool:
    return bool(getattr(field, "compare", True) if isinstance(field, dataclasses.Field) else field.eq)


def _proven(
    encode: Callable[[Any], dict[str, Any]], decode: Callable[[Any], Any], fields: list[Field], derived: list[str]
) -> Callable[[Any], dict[str, Any]]:
    """Return *encode* with a trial: what would come back otherwise than it was is refused now."""

    def encode_proven(value: Any) -> dict[str, Any]:
        made = encode(value)
        again = decode(made)
        remade = encode(again)
        problems = [
            (key_step(field.attribute), "would come back changed by its own class")
            for field in fields
            if remade[field.key] is not made[field.key] and remade[field.key] != made[field.key]
        ]
        problems += [
            (key_step(name), "has init=False and would not come back; eq=False says that it does not matter")
            for name in derived
            if getattr(value, name, None) != getattr(again, name, None)
        ]
        if problems:
            raise Unfit(problems)
        return made

    return encode_proven


def _tagged(annotation: Any, cls: type, fields: list[Field]) -> Tagged:
    def body(definitions: Definitions, tag: str) -> dict[str, Any]:
        properties = {field.key: _property(field, definitions) for field in fields}
        required = [field.key for field in fields if field.required]
        if tag:
            properties, required = {TAG: {"const": tag}} | properties, [TAG, *required]
        made: dict[str, Any] = {"type": "object", "title": cls.__name__, "properties": properties}
        return made | ({"required": required} if required else {}) | {"additionalProperties": False}

    def schema(definitions: Definitions, tag: str) -> dict[str, Any]:
        return definitions.refer((annotation, tag), cls.__name__, lambda: body(definitions, tag))

    return Tagged(cls, frozenset(field.key for field in fields), schema)


def _property(field: Field, definitions: Definitions) -> dict[str, Any]:
    schema = field.hooks.schema(definitions)
    if field.default is _NO_DEFAULT:
        return schema
    try:
        return schema | {"default": field.hooks.encode(field.default)}
    except Exception:  # a default that does not fit its own annotation says nothing to a reader
        return schema
