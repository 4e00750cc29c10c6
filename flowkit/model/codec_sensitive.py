"""Values that are not to be shown, read and written as any others, but of which no message tells more than the type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from flowkit.model.codec_annotations import shown
from flowkit.model.codec_hooks import Find, Hooks
from flowkit.model.codec_problems import Misfit, Unfit, type_name
from flowkit.model.schema import Field
from flowkit.model.sensitive import is_sensitive, unmarked


def sensitive_hooks(annotation: Any, find: Find) -> Hooks:
    """Return the hooks of a marked annotation."""
    inner = unmarked(annotation)
    hooks, name = find(inner), shown(inner)

    def structure(value: Any, _: Any) -> Any:
        try:
            return hooks.structure(value, _)
        except Exception:
            pass
        # Outside the handler: no traceback must lead to the error that shows the value.
        raise Unfit([("", f"expected {name}, got {type_name(value)} (sensitive, so no more is told)")])

    def unstructure(value: Any) -> Any:
        made = hooks.unstructure(value)
        return Misfit(value) if type(made) is Misfit else made

    return attrs.evolve(hooks, structure=structure, unstructure=unstructure)


def discreet(cls: Any, fields: list[Field]) -> Callable[..., Any]:
    """Return what makes an instance; where a field is marked, an error of the class's own is told by its type alone."""
    if not any(is_sensitive(field.type) for field in fields):
        return cls  # type: ignore[no-any-return]

    def make(**values: Any) -> Any:
        try:
            return cls(**values)
        except Exception as error:
            kind = type(error).__name__
        raise Unfit([("", f"{kind} (the class has sensitive fields, so no more is told)")])

    return make
