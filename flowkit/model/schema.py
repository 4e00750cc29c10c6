"""The JSON Schema (draft 2020-12) of an annotation, as operators and forms see it."""

from __future__ import annotations

from typing import Any

from flowkit.model.codec_hooks import Definitions, Hooks

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def document(hooks: Hooks) -> dict[str, Any]:
    """Return the schema of one annotation, with the classes it names under ``$defs``."""
    definitions = Definitions()
    root = hooks.schema(definitions)
    if not root:
        return {}
    return {"$schema": DIALECT, **root, **({"$defs": definitions.bodies} if definitions.bodies else {})}
