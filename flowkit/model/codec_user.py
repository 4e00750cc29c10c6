"""The hooks that a user's own cattrs converter brings, told apart from those that every converter has."""

from __future__ import annotations

from typing import Any

import cattrs


class UserHooks:
    """What the user's converter does otherwise than a fresh one.

    Args:
        converter: it is copied; None has no hooks.
    """

    def __init__(self, converter: cattrs.Converter | None) -> None:
        self._given = copied(converter) if converter is not None else None
        self._fresh = cattrs.Converter()

    def read(self, annotation: Any) -> bool:
        """Whether values of an annotation are structured by a hook of the user's."""
        if self._given is None:
            return False
        return _differs(self._given.get_structure_hook, self._fresh.get_structure_hook, annotation)

    def write(self, annotation: Any) -> bool:
        """Whether values of an annotation are unstructured by a hook of the user's."""
        if self._given is None:
            return False
        return _differs(self._given.get_unstructure_hook, self._fresh.get_unstructure_hook, annotation)


def copied(converter: cattrs.Converter) -> cattrs.Converter:
    """Return a copy of a converter that names every problem and takes no unknown keys."""
    made = converter.copy(detailed_validation=True, forbid_extra_keys=True)
    # copy() leaves hooks for unions behind (cattrs 26.2).
    for union, hook in getattr(converter, "_union_struct_registry", {}).items():
        made.register_structure_hook(union, hook)
    return made


def _differs(given: Any, fresh: Any, annotation: Any) -> bool:
    """Whether the hook for an annotation is the user's own, and not of cattrs' making."""
    try:
        hook = given(annotation)
    except Exception:  # cattrs has no hook, or cannot make one: whatever the reason, it is not the user's
        return False
    # What cattrs generates has no module; what it was told to do otherwise is listed in overrides.
    if getattr(hook, "__module__", None) is None:
        return bool(getattr(hook, "overrides", None))
    try:
        usual = fresh(annotation)
    except Exception:
        return True
    return any(getattr(hook, name, None) != getattr(usual, name, None) for name in ("__module__", "__qualname__"))
