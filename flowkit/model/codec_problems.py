"""What does not fit, and where: problems with their paths, and the one error they become."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cattrs
from cattrs.errors import AttributeValidationNote, IterableValidationNote

from flowkit.errors import InvalidInput, nearest

MAX_PROBLEMS = 10
"""How many problems one error names."""
_SHOWN = 60
_TEXT_LIMIT = 400
MISSING = "required field is missing"

Problem = tuple[str, str]
"""A path below the value at hand, such as ``.pages[3].url``, and what is wrong there."""


class Unfit(Exception):
    """A value does not fit: every problem found, its path relative to that value."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"${path}: {text}" for path, text in problems))
        self.problems = list(problems)


class Misfit:
    """Stands in encoded JSON for a value that could not be encoded, so that reading it back tells where and why."""

    def __init__(self, value: Any, reason: str = "") -> None:
        self.value, self.reason = value, reason


def unfit(expected: str, value: Any) -> Unfit:
    """Return the error for a value of the wrong type."""
    reason = value.reason if type(value) is Misfit else ""
    return Unfit([("", reason or f"expected {expected}, got {type_name(value)}")])


def type_name(value: Any) -> str:
    """Name the type of a value as a reader would."""
    value = value.value if type(value) is Misfit else value
    return "None" if value is None else type(value).__name__


def quoted(value: Any) -> str:
    """Show a JSON scalar in a message, cut to a readable length; of anything else only the type."""
    value = value.value if type(value) is Misfit else value
    if type(value) not in (str, int, float, bool, type(None)):
        return type_name(value)
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def key_step(key: str) -> str:
    """Return the path step to a key of an object: ``.name``, or ``["some key"]`` where it is no identifier."""
    if key.isidentifier() and len(key) <= _SHOWN:
        return f".{key}"
    return f"[{json.dumps(key[:_SHOWN])}]"


def unknown_field(key: Any, known: Iterable[str]) -> Problem:
    """Return the problem of a key that names no field."""
    if type(key) is not str:
        return "", f"expected fields named by str, got a key that is {type_name(key)}"
    names = list(known)
    expected = f"expected one of {', '.join(names)}" if names else "no fields are expected"
    return key_step(key), f"unknown field, {expected}{nearest(key, names)}"


def problems_of(error: Exception, steps: Mapping[str, str] | None = None, known: Iterable[str] = ()) -> list[Problem]:
    """Return what an error of any hook, ours or a user's, says is wrong.

    Args:
        steps: the path step of each field of the class at hand.
        known: the keys of its fields.
    """
    if isinstance(error, Unfit):
        return error.problems
    if isinstance(error, (cattrs.ClassValidationError, cattrs.IterableValidationError)):
        return [problem for inner in error.exceptions for problem in _noted(inner, steps or {}, known)]
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return [unknown_field(key, known) for key in sorted(error.extra_fields, key=str)]
    if isinstance(error, RecursionError):
        return [("", "contains itself, or is nested too deeply")]
    return [("", described(error))]


def _noted(error: Exception, steps: Mapping[str, str], known: Iterable[str]) -> list[Problem]:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            if isinstance(error, KeyError) and error.__traceback__ and error.__traceback__.tb_next is None:
                # Raised by the class's own hook, not by a field's: the key was not there.
                return [(key_step(str(error.args[0])), MISSING)]
            step = steps.get(note.name, f".{note.name}")
            return [(step + path, text) for path, text in problems_of(error)]
        if isinstance(note, IterableValidationNote):
            index: Any = note.index
            key = index.value if type(index) is Misfit else index
            in_key = note.startswith("Structuring mapping key")
            step = key_step(key) if type(key) is str else "" if in_key else f"[{quoted(key)}]"
            return [(step + path, f"in the key: {text}" if in_key else text) for path, text in problems_of(error)]
    return problems_of(error, steps, known)


def described(error: BaseException) -> str:
    """Return type and text of an exception that a user's code raised; never fails."""
    try:
        # attrs' validators raise with the message first and the attribute, the type and the value after it.
        several = len(error.args) > 1 and type(error).__str__ is BaseException.__str__
        text = error.args[0] if several and isinstance(error.args[0], str) else str(error)
        text = text.strip().split("\n", 1)[0][:_TEXT_LIMIT]
    except BaseException:  # a user's __str__ may raise anything at all, SystemExit included
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def refusal(where: str, problems: Sequence[Problem]) -> InvalidInput:
    """Return the error that names the first problems, each with its full path."""
    told = "; ".join(f"{where} ${_cut(path)}: {text}" for path, text in problems[:MAX_PROBLEMS])
    return InvalidInput(f"{told}; and more" if len(problems) > MAX_PROBLEMS else told)


def _cut(path: str) -> str:
    return path if len(path) <= 4 * _SHOWN else f"{path[: 2 * _SHOWN]}...{path[-2 * _SHOWN :]}"
