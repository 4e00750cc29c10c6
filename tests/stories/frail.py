"""A store that fails where a story says so, as a disk or a connection does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowkit.clock import Clock
from flowkit.store.engine import Engine
from tests.places import Place


class FrailStore:
    """A store that may be broken.

    Attributes:
        forgets: the next commit is made, but its acknowledgement is lost.
        broken: what every transaction is refused with, while it says something.
    """

    wal = None

    def __init__(self, place: Place) -> None:
        self._connector = place.connector()
        self._error = place.driver_error
        self.forgets = False
        self.broken = ""

    def open(self, clock: Clock) -> Engine:
        """Open the store."""
        connect = self._connector.connect
        self._connector.connect = lambda: _Connection(connect(), self, self._error)  # type: ignore[method-assign]
        return Engine(self._connector, clock)


class _Connection:
    def __init__(self, raw: Any, store: FrailStore, error: Callable[[str], Exception]) -> None:
        self._raw = raw
        self._store = store
        self._error = error

    def execute(self, sql: str, *parameters: Any) -> Any:
        if sql.startswith("BEGIN") and self._store.broken:
            raise self._error(self._store.broken)
        result = self._raw.execute(sql, *parameters)
        if sql == "COMMIT" and self._store.forgets:
            self._store.forgets = False
            raise self._error("disk I/O error")
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
