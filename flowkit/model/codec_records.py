"""Classes, TypedDicts and tuples of known length, read and written by the code that cattrs generates."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import attrs
import cattrs
from cattrs.fns import identity
from cattrs.gen import make_dict_structure_fn_from_attrs, make_dict_unstructure_fn_from_attrs, override

from flowkit.model.codec_annotations import kind_of, origin_of
from flowkit.model.codec_hooks import SCALAR, Find, Hooks, Structure, container
from flowkit.model.codec_problems import Misfit, Unfit, key_step, problems_of
from flowkit.model.codec_sensitive import discreet
from flowkit.model.schema import Field, fields_of, own_fields

_DERIVED = "has init=False and would not come back; eq=False says that it does not matter"


def tuple_hooks(annotation: Any, find: Find, converter: cattrs.Converter) -> Hooks:
    """Return the hooks of a NamedTuple or a tuple of known length."""
    cls, fields = origin_of(annotation), fields_of(annotation)
    most, least = len(fields), sum(field.required for field in fields)
    hooks = [_field(cls, field, find) for field in fields]
    read = _record(
        cls, fields, hooks, converter, lambda **items: tuple(items.values()) if cls is tuple else cls(*items.values())
    )
    keys = [field.key for field in fields]

    def structure(value: Any, _: Any) -> Any:
        if not least <= len(value) <= most:
            raise Unfit([("", f"expected {most} elements, got {len(value)}")])
        return read(dict(zip(keys, value)), None)

    def unstructure(value: Any) -> Any:
        if len(value) != most:
            return list(value)
        return [hook.unstructure(item) for hook, item in zip(hooks, value)]

    return container(cls.__name__, "list", cls, list, structure, unstructure)


def class_hooks(annotation: Any, find: Find, converter: cattrs.Converter) -> Hooks:
    """Return the hooks of an attrs class or a dataclass."""
    cls, fields = origin_of(annotation), fields_of(annotation)
    hooks = [_field(cls, field, find) for field in fields]
    read = _record(cls, fields, hooks, converter, discreet(cls, fields))
    overrides: Any = {
        field.name: override(rename=field.key, unstruct_hook=found.unstructure) for field, found in zip(fields, hooks)
    }
    write = make_dict_unstructure_fn_from_attrs(
        _pattern(fields, True), cls, converter, _cattrs_use_linecache=False, **overrides
    )
    derived = [field.name for field in own_fields(cls) if not field.init and _counts(field)]

    def unstructure(value: Any) -> Any:
        made = write(value)
        try:
            again = read(made, None)
            lost = [name for name in derived if getattr(value, name, None) != getattr(again, name, None)]
        except Exception:  # reading it back tells why
            return made
        return made | {name: Misfit(value, _DERIVED) for name in lost}

    made = container(cls.__name__, cls.__name__, cls, dict, read, unstructure if derived else write)
    return attrs.evolve(made, keys=frozenset(field.key for field in fields))


def typed_dict_hooks(annotation: Any, find: Find, converter: cattrs.Converter) -> Hooks:
    """Return the hooks of a TypedDict."""
    cls, fields = origin_of(annotation), fields_of(annotation)
    hooks = [_field(cls, field, find) for field in fields]
    write = {field.key: found.unstructure for field, found in zip(fields, hooks)}
    keys = {field.name: field.key for field in fields}
    read = _record(cls, fields, hooks, converter, lambda **items: {keys[name]: item for name, item in items.items()})
    return container(
        cls.__name__,
        cls.__name__,
        dict,
        dict,
        read,
        lambda value: {key: write.get(key, identity)(item) for key, item in value.items()},
    )


def _record(cls: type, fields: list[Field], hooks: list[Hooks], converter: cattrs.Converter, make: Any) -> Structure:
    """Return what reads a dict with exactly these fields, by code that cattrs generates."""
    overrides: Any = {
        field.name: override(rename=field.key, struct_hook=found.structure) for field, found in zip(fields, hooks)
    }
    make = functools.partial(make)
    make.__name__ = cls.__name__
    make.__qualname__ = cls.__qualname__
    pattern = _pattern(fields, kind_of(cls) == "class")

    def generated(*, detailed: bool) -> Any:
        return make_dict_structure_fn_from_attrs(
            pattern,
            make,
            converter,
            _cattrs_forbid_extra_keys=True,
            _cattrs_use_linecache=False,
            _cattrs_detailed_validation=detailed,
            **overrides,
        )

    careful = _explaining(cls, fields, functools.cache(lambda: generated(detailed=True)))
    if not all(found.json and found.json <= SCALAR for found in hooks):
        # What is wrong deep inside would be looked for again at every level above it.
        return careful
    quick = generated(detailed=False)

    def structure(value: Any, _: Any) -> Any:
        # To keep account of all that may be wrong takes twice the time, so that is done once something is.
        try:
            return quick(value, None)
        except Exception:
            pass
        return careful(value, None)

    return structure


def _explaining(cls: type, fields: list[Field], reader: Callable[[], Structure]) -> Structure:
    """Return what tells of every problem that a reader, which cattrs generates when it is needed, finds in a dict."""
    is_array = kind_of(cls) in ("namedtuple", "tuple")
    steps = {field.name: f"[{at}]" if is_array else key_step(field.key) for at, field in enumerate(fields)}
    known = [field.key for field in fields]

    def structure(value: Any, _: Any) -> Any:
        try:
            return reader()(value, None)
        except cattrs.ClassValidationError as error:
            raise Unfit(_lost(value, known) or problems_of(error, steps, known)) from None

    return structure


def _field(cls: type, field: Field, find: Find) -> Hooks:
    try:
        return find(field.type)
    except TypeError as error:
        name = field.key if cls is not tuple else f"[{field.key}]"
        raise TypeError(f"{cls.__name__}.{name}: {error}" if cls is not tuple else str(error)) from None


def _pattern(fields: list[Field], by_key: bool) -> Any:
    """Return the fields as those of an attrs class, which is what cattrs generates code from."""
    made = {
        field.name: attrs.field(
            type=field.type,
            alias=field.key if by_key else field.name,
            default=attrs.NOTHING if field.required else None,
        )
        for field in fields
    }
    return attrs.fields(attrs.make_class("Fields", made, init=False, repr=False, eq=False, kw_only=True))


def _counts(field: Any) -> bool:
    return bool(field.compare if hasattr(field, "compare") else field.eq)


def _lost(value: dict[str, Any], known: list[str]) -> list[tuple[str, str]]:
    return [(key_step(key), item.reason) for key, item in value.items() if type(item) is Misfit and key not in known]
