"""What an error of PostgreSQL, or of the way to it, means for the store."""

from __future__ import annotations

from typing import Any

from flowkit.errors import DataCorrupted, StoreBusy, StoreError, StoreFull, StoreUnavailable

# By SQLSTATE: two characters are a class of them (PostgreSQL manual, appendix A).
_FULL = frozenset({"53100"})
_BUSY = frozenset({"40001", "40P01", "55P03", "57014", "53300", "53200", "53000"})
_DAMAGED = frozenset({"XX001", "XX002"})
_UNAVAILABLE = frozenset({"08", "57", "58", "28", "3D", "42501", "25006", "25P03", "3F000", "42P01"})

_PERMANENT = ("authentication failed", "does not exist", "pg_hba.conf", "permission denied", "not permitted to log in")
"""Words of a refusal that trying again does not change; while connecting the server gives no SQLSTATE."""


def is_final(error: BaseException) -> bool:
    """Whether connecting again would be refused for the same reason."""
    return any(words in str(error) for words in _PERMANENT)


def translate(error: BaseException, driver: Any, place: str) -> StoreError | None:
    """Return what an error of psycopg means, or None where it says nothing about the store.

    Args:
        place: what the store is called in messages; it holds no password.
    """
    if not isinstance(error, driver.Error):
        return None
    state = getattr(error, "sqlstate", None) or ""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if state in _FULL:
        return StoreFull(f"no space is left for the {place}: {text}; work goes on by itself when there is some")
    if state in _BUSY:
        return StoreBusy(f"the {place} was held up by another transaction, or has no room for one more: {text}")
    if state in _DAMAGED:
        return DataCorrupted(f"the {place} is damaged: {text}; restore it from a backup")
    if state in _UNAVAILABLE or state[:2] in _UNAVAILABLE:
        return StoreUnavailable(f"the {place} cannot be used: {text}")
    if not state and isinstance(error, (driver.OperationalError, driver.InterfaceError)):
        return StoreUnavailable(f"the {place} cannot be reached: {text}")
    return None
