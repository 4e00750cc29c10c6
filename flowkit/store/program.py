"""The peewee database of the program that embeds flowkit: its open transactions are joined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from flowkit.errors import InvalidTransition

T = TypeVar("T")


@attrs.define
class PeeweeProgram:
    """A program's own peewee database; what a thread does inside a transaction on it shares its fate."""

    database: Any

    def open_transaction(self) -> Any | None:
        """Return the raw connection on which this thread has a transaction open, if it has."""
        if self.database.is_closed() or not self.database.in_transaction():
            return None
        return self.database.connection()

    def read(self, ask: Callable[[Any], T]) -> T:
        """Return what *ask* reads from one of the program's connections."""
        if not self.database.is_closed():
            return ask(self.database.connection())
        with self.database.connection_context():
            return ask(self.database.connection())

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call *call* when the outermost transaction commits.

        Raises:
            InvalidTransition: the program commits by hand, of which peewee tells nobody.
        """
        try:
            self.database.after_commit(call)
        except ValueError as error:
            message = "of a commit in manual_commit() nobody is told, so no worker would be woken; use atomic() instead"
            raise InvalidTransition(message, None) from error
