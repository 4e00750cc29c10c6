"""A session: one connection while somebody reads, or has a transaction open on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flowkit.clock import Clock, Micros
from flowkit.store.dialect import Dialect
from flowkit.store.lists import without_nulls
from flowkit.store.statements import Asked, Statement

Row = tuple[Any, ...]

FEW = 8
"""With so few rows, to look for what may be left out takes longer than it spares."""


class Session:
    """One connection while somebody reads or has a transaction open on it."""

    __slots__ = ("_after", "_answered", "_clock", "_raw", "dialect", "notices", "writes")

    def __init__(self, raw: Any, clock: Clock, dialect: Dialect, *, writes: bool) -> None:
        self._raw = raw
        self._clock = clock
        self._after: list[Callable[[], None]] = []
        self._answered: dict[Asked, list[Row]] = {}
        self.notices: list[str] = []
        self.dialect = dialect
        self.writes = writes

    def opened_with(self, answers: Iterable[tuple[Asked, list[Row]]]) -> None:
        """Keep the rows of the statements that the transaction was opened with."""
        self._answered = dict(answers)

    def answer(self, asked: Asked) -> list[Row]:
        """Return the rows of what is asked: those that came with the beginning, if they did; once."""
        rows = self._answered.pop(asked, None)
        return self.rows(asked.statement, **asked.values) if rows is None else rows

    def ask(self, asked: Asked) -> Callable[[], list[Row]]:
        """Ask for rows that came with the beginning, or come with the next statement's; returns what gives them."""
        rows = self._answered.pop(asked, None)
        return self.ahead(asked.statement, **asked.values) if rows is None else lambda: rows

    def now(self) -> Micros:
        """Return the engine's time."""
        return self._clock.now()

    def exact_now(self) -> Micros:
        """Return the engine's time, asked of the clock itself where ``now`` only follows it."""
        return self._clock.now()

    def rows(self, statement: Statement, **values: Any) -> list[Row]:
        """Run a statement and return all its rows; they are always fetched to the end."""
        result: list[Row] = self._raw.execute(*statement.say(values)).fetchall()
        return result

    def ahead(self, statement: Statement, **values: Any) -> Callable[[], list[Row]]:
        """Ask for rows that are needed after the next statement, and return what gives them then.

        Where a round trip costs something, they come with that statement's.
        """
        rows = self.rows(statement, **values)
        return lambda: rows

    def row(self, statement: Statement, **values: Any) -> Row | None:
        """Run a statement and return its first row, if any."""
        rows = self.rows(statement, **values)
        return rows[0] if rows else None

    def run(self, statement: Statement, **values: Any) -> int:
        """Run a statement and return how many rows it changed."""
        return int(self._raw.execute(*statement.say(values)).rowcount)

    def change(self, statement: Statement, **values: Any) -> Callable[[], int]:
        """Run a statement, before the next one or the commit, and return what gives how many rows it changed."""
        changed = self.run(statement, **values)
        return lambda: changed

    def later(self, statement: Statement, **values: Any) -> None:
        """Run a statement, before the next one or the commit, whose result nobody needs."""
        self.run(statement, **values)

    def many(self, statement: Statement, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row of parameters, given in the statement's order."""
        if len(rows) > FEW:
            self._raw.executemany(*without_nulls(statement.sql, rows))
        elif rows:
            self._raw.executemany(statement.sql, rows)

    def script(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run SQL that is not compiled: schema changes, pragmas and checks."""
        result: list[Row] = self._raw.execute(sql, parameters).fetchall()
        return result

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Read as of one moment in this block; a transaction that writes is none, it sees what it began with."""
        if self.writes:
            yield
            return
        self._raw.execute(self.dialect.begin_reading)
        try:
            yield
        finally:
            self._raw.execute("COMMIT")

    def wait_at_most(self, seconds: float) -> None:
        """Let this transaction wait no longer for a row that another has locked; where one writes, none has."""

    def notify(self, notice: str) -> None:
        """Have other processes told of this transaction's commit, where the database can do that."""
        if notice not in self.notices:
            self.notices.append(notice)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call *call* once this transaction is committed, never if it is rolled back."""
        self._after.append(call)

    def committed(self) -> None:
        """Run what waits for the commit."""
        for call in self._after:
            call()
