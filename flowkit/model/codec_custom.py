"""The user's own cattrs hooks: found in a copy of the converter, so that nothing leaks either way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cattrs

from flowkit.model.codec_hooks import Decode, Encode, Find

_BUILT_IN = (str, bytes, int, float, Path)
"""Types for which cattrs has a hook that also catches their subclasses, and that coerces."""


class CustomHooks:
    """Answers for which annotations a converter has hooks that cattrs did not supply itself.

    Hooks that cattrs generates on the converter's behalf get ours for everything nested in them, so they are as strict.
    """

    def __init__(self, converter: cattrs.Converter, find: Find) -> None:
        self._given = _copy(converter)
        self._fresh = cattrs.Converter()
        self._strict = _copy(converter)
        for cls in _BUILT_IN:
            if not self._decodes(cls):
                self._strict.register_structure_hook(cls, lambda value, annotation: find(annotation).decode(value))
        for cls in (str, bytes):
            if not self._encodes(cls):
                # Dispatched by the value: an Enum of str lands here too.
                self._strict.register_unstructure_hook(cls, lambda value: find(type(value)).encode(value))
        self._strict.register_structure_hook_factory(
            lambda annotation: not self._decodes(annotation), lambda annotation: _as_hook(find(annotation).decode)
        )
        self._strict.register_unstructure_hook_factory(
            lambda annotation: not self._encodes(annotation), lambda annotation: find(annotation).encode
        )

    def find_encode(self, annotation: Any) -> Encode | None:
        """Return the user's unstructure hook, if there is one."""
        return self._strict.get_unstructure_hook(annotation) if self._encodes(annotation) else None

    def find_decode(self, annotation: Any) -> Decode | None:
        """Return the user's structure hook, if there is one."""
        if not self._decodes(annotation):
            return None
        hook = self._strict.get_structure_hook(annotation)
        return lambda value: hook(value, annotation)

    def _encodes(self, annotation: Any) -> bool:
        return _is_own(self._given.get_unstructure_hook, self._fresh.get_unstructure_hook, annotation)

    def _decodes(self, annotation: Any) -> bool:
        return _is_own(self._given.get_structure_hook, self._fresh.get_structure_hook, annotation)


def _copy(converter: cattrs.Converter) -> cattrs.Converter:
    made = converter.copy(detailed_validation=True)
    # copy() leaves hooks for unions behind (cattrs 26.2).
    for union, hook in getattr(converter, "_union_struct_registry", {}).items():
        made.register_structure_hook(union, hook)
    return made


def _as_hook(decode: Decode) -> Any:
    return lambda value, _: decode(value)


def _is_own(given: Any, fresh: Any, annotation: Any) -> bool:
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
