"""A session with PostgreSQL: what nobody waits for is sent, and answered together with what somebody does wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flowkit.clock import Clock, FollowingClock, Micros
from flowkit.store.dialect import Dialect
from flowkit.store.sessions import FEW, Row, Session
from flowkit.store.statements import Statement

ROWS_AT_ONCE = 5000
"""How many rows one INSERT takes at most."""

SMALL = 500
"""How many rows an INSERT has at most whose answer is heard later."""


class PostgresSession(Session):
    """A session with PostgreSQL."""

    __slots__ = ("_is_bulky",)

    def __init__(self, raw: Any, clock: Clock, dialect: Dialect, *, writes: bool) -> None:
        super().__init__(raw, clock, dialect, writes=writes)
        self._is_bulky = False

    def exact_now(self) -> Micros:
        """Return the engine's time, asked of the server if it is the server's."""
        if isinstance(self._clock, FollowingClock):
            self._clock.ask(self._raw.time)
        return self._clock.now()

    def many(self, statement: Statement, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row; an INSERT takes them as one list for each column.

        In a transaction nobody waits for it: its answer comes with that to the next question, or to the commit.
        """
        if len(rows) == 1:
            self._send(statement.sql, rows[0], 1)
        elif statement.bulk is None and rows:
            self._raw.executemany(statement.sql, rows)
        elif statement.bulk is not None:
            for start in range(0, len(rows), ROWS_AT_ONCE):
                some = rows[start : start + ROWS_AT_ONCE]
                self._send(statement.bulk, [list(column) for column in zip(*some)], len(some))

    def _send(self, sql: str, parameters: Sequence[Any], rows: int) -> None:
        self._is_bulky |= rows > FEW
        if self.writes and rows <= SMALL:
            self._raw.send(sql, parameters, more=self._is_bulky)
        else:
            self._raw.execute(sql, parameters)

    def later(self, statement: Statement, **values: Any) -> None:
        """Run a statement whose answer comes with that to the next question, or to the commit."""
        self._send(*statement.say(values), 1)

    def ahead(self, statement: Statement, **values: Any) -> Callable[[], list[Row]]:
        """Ask for rows that are needed later, and return what gives them then."""
        if not self.writes:
            return super().ahead(statement, **values)
        answer = self._raw.send(*statement.say(values), more=self._is_bulky)
        return lambda: answer().fetchall()

    def change(self, statement: Statement, **values: Any) -> Callable[[], int]:
        """Run a statement, and return what gives how many rows it changed, once that is asked."""
        if not self.writes:
            return super().change(statement, **values)
        answer = self._raw.send(*statement.say(values), more=self._is_bulky)
        return lambda: int(answer().rowcount)

    def script(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run SQL that is not compiled, and that names the store's tables without their schema."""
        result: list[Row] = self._raw.script(sql, parameters)
        return result

    def wait_at_most(self, seconds: float) -> None:
        """Let this transaction wait no longer than *seconds* for a row that another has locked."""
        self._raw.execute(f"SET LOCAL lock_timeout = {int(seconds * 1000)}")

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Read as of one moment in this block."""
        if self.writes:
            yield
            return
        self._raw.begin(self.dialect.begin_reading)
        try:
            yield
        finally:
            self._raw.commit()
