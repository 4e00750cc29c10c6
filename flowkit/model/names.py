"""What may be an id or a name: short, printable, compared exactly; and how ids are joined without collisions."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any
from urllib.parse import quote

MAX_LENGTH = 200
_CUT = 150


def name_problem(value: Any, *, spaces: bool = True) -> str | None:
    """Say what is wrong with *value* as an id or name, or return None.

    Ids of runs, steps and artifacts and names of packages, kinds, queues, collections and projections are 1-200
    characters with no control characters, surrogates or edge spaces; kinds and queues have no spaces at all.
    """
    if not isinstance(value, str):
        return f"expected str, got {type(value).__name__}"
    if not value.strip():
        return "expected a non-blank name"
    if len(value) > MAX_LENGTH:
        return f"expected at most {MAX_LENGTH} characters, got {len(value)}"
    if value != value.strip():
        return f"expected no leading or trailing space, got {value!r}"
    if not value.isascii() or not value.isprintable():
        for character in value:
            if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
                return f"expected no control characters or surrogates, got {value!r}"
    if not spaces and any(character.isspace() for character in value):
        return f"expected no spaces, got {value!r}"
    return None


def shortened(name: str) -> str:
    """Return *name*, or its first 150 characters, ``~`` and 12 hex digits of its hash when it is too long for an id."""
    if len(name) <= MAX_LENGTH:
        return name
    return f"{name[:_CUT]}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def joined(*parts: str | int) -> str:
    """Join parts with ``/``, each percent-encoded first, so that no two lists of parts give one text."""
    return "/".join(quote(str(part), safe="") for part in parts)
