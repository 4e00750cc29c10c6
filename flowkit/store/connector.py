"""What a store asks of its kind of database, and of the program's own one where it is joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from flowkit.errors import StoreError
from flowkit.store.dialect import Dialect
from flowkit.store.sessions import Row, Session
from flowkit.store.statements import Asked


class Connector(Protocol):
    """What opens connections for one kind of database and knows its errors."""

    @property
    def dialect(self) -> Dialect:
        """How this kind of database speaks."""

    @property
    def single(self) -> bool:
        """Whether there is one connection for everybody, used by one thread at a time."""

    @property
    def pool_size(self) -> int | None:
        """How many connections may be in use at once; None for as many as are asked for."""

    @property
    def session(self) -> type[Session]:
        """What speaks to a connection."""

    def connect(self) -> Any:
        """Open a connection in autocommit mode."""

    def join(self, raw: Any) -> Any:
        """Return the program's own connection as a session can speak to it."""

    def begin(self, raw: Any, first: Iterable[Asked] = ()) -> list[tuple[Asked, list[Row]]]:
        """Open a transaction with its *first* statements, and return each with its rows."""

    def read(self, raw: Any) -> None:
        """Make a connection ready for reads without a transaction."""

    def notify(self, raw: Any, notices: Sequence[str]) -> None:
        """Have other processes told when the transaction commits."""

    def commit(self, raw: Any, notices: Sequence[str]) -> None:
        """Commit, and have other processes told."""

    def rollback(self, raw: Any) -> None:
        """Roll back."""

    def outlast(self, raw: Any) -> None:
        """Wait until every transaction of others has ended that is under way now."""

    def keep_copy(self, version: int, *, consents: bool) -> str | None:
        """Keep a copy of the store as it is at this version of its schema; returns where it is.

        Args:
            consents: whoever opens the store has a backup, so that none need be made where that cannot be done here.
        """

    def translate(self, error: BaseException) -> StoreError | None:
        """Return what a driver's error means, or None where it is no error of the store."""


class Program(Protocol):
    """A database of the program that embeds flowkit, whose open transactions are joined."""

    def open_transaction(self) -> Any | None:
        """Return the raw connection on which this thread has a transaction open, if it has."""

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call *call* when that transaction commits."""
