"""What people write on a command line, made into values: instants, ages, entries of metadata, JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.failing import CommandFailed

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")


def seconds_of(text: str) -> float | None:
    """Return the seconds in ``90``, ``90s``, ``15m``, ``2h``, ``7d`` or ``1w``; None for anything else."""
    found = _AGE.fullmatch(text.strip())
    return float(found[1]) * UNITS[found[2] or "s"] if found else None


if TYPE_CHECKING:
    Param = click.ParamType[Any]
else:
    Param = click.ParamType  # it takes no type argument in older clicks


class Duration(Param):
    """A length of time in seconds: a number, or one with a unit.

    Args:
        days: the most that is taken.
    """

    name = "duration"

    def __init__(self, days: int = 1_000_000) -> None:
        self._days = days

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return seconds."""
        seconds = value if isinstance(value, (int, float)) else seconds_of(value)
        if seconds is None:
            self.fail(f"expected seconds, or a number with a unit like 90s, 15m, 2h or 7d, got {value!r}", param, ctx)
        if seconds > self._days * UNITS["d"]:
            self.fail(f"expected at most {self._days}d, got {value!r}", param, ctx)
        return float(seconds)


class Instant(Param):
    """An instant: an ISO date and time, UTC unless it says otherwise, or how long ago it was."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return an aware datetime."""
        if isinstance(value, datetime):
            return value
        age = seconds_of(value) if not value.isdigit() else None
        if age is not None:
            from flowkit.clock import SystemClock

            now = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=SystemClock().now())
            try:
                return now - timedelta(seconds=age)
            except OverflowError:
                self.fail(f"expected an age that leads to a year from 1 on, got {value!r}", param, ctx)
        try:
            found = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            self.fail(f"expected a time like 2025-01-31T12:00 or an age like 15m, 2h or 7d, got {value!r}", param, ctx)
        return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)


def split_list(values: Iterable[str]) -> list[str]:
    """Return what was listed by commas or by giving the option again."""
    return [one for value in values for one in value.replace(",", " ").split()]


def parsed_entries(option: str, entries: Iterable[str]) -> dict[str, Any]:
    """Return ``key=value`` entries as a dict; a value that is JSON counts as what it says, any other as a text.

    Raises:
        CommandFailed: one has no ``=``.
    """
    found = {}
    for entry in entries:
        key, sign, text = entry.partition("=")
        if not sign or not key:
            raise CommandFailed(f"{option}: expected KEY=VALUE, got {entry!r}")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def read_input(given: str | None) -> Any:
    """Return the value of ``--input``: JSON, ``@file`` or ``-`` for stdin; None where nothing was given.

    Raises:
        CommandFailed: the file cannot be read, or it is no JSON.
    """
    if given is None:
        return None
    text, where = given, "--input"
    if given == "-":
        text, where = sys.stdin.read(), "stdin"
    elif given.startswith("@"):
        where = given[1:]
        try:
            text = Path(where).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise CommandFailed(f"cannot read the input: {error}", where=where) from error
    try:
        return json.loads(text)
    except ValueError as error:
        hint = "a text needs quotes of its own: --input '\"hello\"'; @FILE reads a file, - reads stdin"
        raise CommandFailed(f"the input is no JSON: {error}", where=where, hint=hint) from error
