"""A store that fails where a story says so, as a disk or a connection does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowkit.clock import Clock
from flowkit.store.engine import Engine
from tests.places import Place


class FrailStore:
    """A store that may be broken.

    Attributes:
        forgets: the next commit is made, but its acknowledgement is lost.
        broken: what every transaction is refused with, while it says something.
        unreadable: what every read outside of transactions is refused with, likewise.
        refusals: how many reads were refused so.
    """

    def __init__(self, place: Place) -> None:
        self._connector = place.connector()
        self._error = place.driver_error
        self.forgets = False
        self.broken = ""
        self.unreadable = ""
        self.refusals = 0

    def watcher(self) -> None:
        """Nobody else commits."""

    def open(self, clock: Clock) -> Engine:
        """Open the store."""
        connector: Any = self._connector
        begin, commit, read = connector.begin, connector.commit, connector.read

        def frail_begin(raw: Any, first: Any = ()) -> Any:
            if self.broken:
                raise self._error(self.broken)
            return begin(raw, first)

        def frail_commit(raw: Any, notices: Sequence[str]) -> None:
            commit(raw, notices)
            if self.forgets:
                self.forgets = False
                raise self._error("disk I/O error")

        def frail_read(raw: Any) -> None:
            if self.unreadable:
                self.refusals += 1
                raise self._error(self.unreadable)
            read(raw)

        connector.begin, connector.commit, connector.read = frail_begin, frail_commit, frail_read
        return Engine(connector, clock)
