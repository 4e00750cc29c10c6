"""Listings come in pages: limits are checked, and a cursor says after which row the next page begins."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flowkit.errors import ConfigError
from flowkit.model.run import Page
from flowkit.store.database import Row

T = TypeVar("T")
MAX_LIMIT = 10_000
UNLIMITED = 1 << 31
"""More rows than any listing has."""


def checked_limit(listing: str, limit: Any) -> int:
    """Return *limit*, or raise ``ConfigError`` naming the listing."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise ConfigError(f"{listing}: limit: expected an int from 1 to {MAX_LIMIT}, got {limit!r}")
    return limit


def cursor_at(listing: str, key: int) -> str:
    """Return the cursor of the page that begins after the row with this key."""
    return base64.urlsafe_b64encode(f"{listing}:{key}".encode()).decode().rstrip("=")


def key_at(listing: str, cursor: Any) -> int | None:
    """Return the key in a cursor, None where there is none; raise ``ConfigError`` for one of another listing."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
        key = int(text.rpartition(":")[2])
        if 0 <= key < 1 << 63 and cursor_at(listing, key) == cursor:
            return key
    except (AttributeError, ValueError):
        pass
    raise ConfigError(f"{listing}: cursor: expected the cursor of a page of this listing, got {cursor!r}")


def page_of(listing: str, rows: Sequence[Row], limit: int, make: Callable[[Row], T]) -> Page[T]:
    """Make a page of up to *limit* rows, whose first column is the key; one row more says that there is a next page."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(tuple(make(row) for row in shown), cursor_at(listing, shown[-1][0]) if more else None)
