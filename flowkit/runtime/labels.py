"""What an executor says of an artifact or record beside its content, refused before anything is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowkit.model.gate import METADATA_LIMIT, dumps
from flowkit.model.names import name_problem
from flowkit.runtime.misfits import Misfit, coded

NO_RESULT = "invalid_result"


def require_name(what: str, field: str, value: Any) -> None:
    """Refuse what is no name.

    Raises:
        ValueError: the message says which *field* of *what*, and what is wrong with it.
    """
    problem = name_problem(value)
    if problem:
        raise ValueError(f"{what}: {field}: {problem}")


def word(field: str, value: Any) -> str | None:
    """Return an artifact's kind or content type as it is stored, None where none is given.

    Raises:
        ValueError: it is no short text.
    """
    if value is None or value == "":
        return None
    require_name("artifact", field, value)
    return str.__str__(value)


def metadata_text(metadata: Mapping[str, Any] | None) -> str | None:
    """Return an artifact's metadata as JSON.

    Raises:
        InvalidInput: it is no JSON object, or too large.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise Misfit(NO_RESULT, f"artifact metadata: expected a dict, got {type(metadata).__name__}")
    return coded(NO_RESULT, dumps)(dict(metadata), "artifact metadata", METADATA_LIMIT).decode()
