"""One connection to PostgreSQL, spoken to as sessions do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from flowkit.clock import Micros, SystemClock
from flowkit.errors import MissingExtra
from flowkit.store.postgres_wire import Answer, Wire
from flowkit.store.sessions import Row
from flowkit.store.statements import Asked

TIME = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
UNHEARD = 32
"""How many answers, and ends of units of them, there are at most before they are heard."""

PLAN_SECONDS, PLAN_USES = 1.0, 16
"""How long the plans of statements are kept, and for how many transactions or reads at least."""

BY_KEY = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin")
"""What is off where statements are prepared: whatever a plan reads is then found by an index, in its order."""


def driver() -> Any:
    """Return psycopg.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import psycopg
    except ImportError as error:
        without = "Without it flowkit stores in SQLite: sqlite:///var/app.db."
        raise MissingExtra("a postgresql:// store", "postgres", without) from error
    return psycopg


class Connection:
    """A psycopg connection, spoken to as sessions do: positional parameters, plain tuples.

    Args:
        path: the search path for SQL that names the store's tables without their schema.
        reopen: gives another connection where this one turns out to be lost between transactions.
    """

    def __init__(self, raw: Any, path: str, reopen: Callable[[], Any] | None = None) -> None:
        self._psycopg = driver()
        self._path = path
        self._reopen = reopen
        # What is prepared on the program's own connection is the program's business.
        self._prepare = None if reopen else False
        self._planned_at = -math.inf
        self._uses = 0
        self._use(raw)

    def _use(self, raw: Any) -> None:
        self._raw = raw
        self._open = False
        # Behind a pooler, and on the program's own connection, nothing may be prepared, nor be sent in pieces.
        is_own = self._reopen is not None and self.is_settled and bool(self._psycopg.Pipeline.is_supported())
        self._wire = Wire(raw) if is_own else None
        self._cursor = raw.cursor(row_factory=self._psycopg.rows.tuple_row)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run one statement; returns what its rows are fetched from."""
        if self._wire is None:
            return self._again(lambda: self._cursor.execute(sql, parameters, prepare=self._prepare))
        return self._again(lambda: self._asked(sql, parameters))

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row; they are sent together."""
        self._hear()
        self._again(lambda: self._cursor.executemany(sql, rows))

    def _one_after_another(self, statements: Sequence[str]) -> list[Row]:
        # Without parameters the server takes several statements for one, which it plans each time.
        cursor = self._cursor.execute("; ".join(statements))
        while cursor.nextset():
            pass
        rows: list[Row] = cursor.fetchall() if cursor.description else []
        return rows

    def send(self, sql: str, parameters: Sequence[Any], *, more: bool = False) -> Callable[[], Any]:
        """Have the server run a statement, and go on meanwhile; returns what gives its answer.

        In a transaction of our own, and where answers can be heard later; elsewhere it is waited for.

        Args:
            more: others follow, with which it goes.
        """
        wire = self._wire
        if wire is None:
            told = _Told(self.execute(sql, parameters))
            return lambda: told
        if not self._open:
            found = self.execute(sql, parameters)
            return lambda: found
        answer = wire.put(sql, parameters)
        if not more:
            wire.send()
        if wire.unheard >= UNHEARD:
            wire.hear()
        return lambda: self._heard(answer)

    def _heard(self, answer: Answer) -> Answer:
        if answer.result is None:
            self._hear()
        return answer

    def _hear(self) -> None:
        if self._wire is not None and self._wire.unheard:
            self._wire.hear()

    def _asked(self, sql: str, parameters: Sequence[Any]) -> Answer:
        assert self._wire is not None
        answer = self._wire.put(sql, parameters)
        self._wire.hear()
        return answer

    def _again(self, run: Callable[[], Any]) -> Any:
        # A connection that was idle while the server went away is found out by the next statement. Outside of a
        # transaction nothing was done on it yet, so that statement may be repeated on another.
        try:
            return run()
        except self._psycopg.OperationalError:
            if self._open or self._reopen is None or not self._raw.closed:
                raise
        self._use(self._reopen())
        return run()

    def plan_anew(self) -> None:
        """Have prepared statements planned anew, if it is a while since they were.

        A plan that was made while a table was small, as most are, may be one that reads all of it.
        """
        self._uses += 1
        if self._uses < PLAN_USES or not self.is_settled:
            return
        now = SystemClock().monotonic()
        if now >= self._planned_at + PLAN_SECONDS:
            self._uses, self._planned_at = 0, now
            self.execute("DISCARD PLANS")

    def time(self) -> Micros:
        """Return the server's time."""
        return int(self.execute(TIME).fetchone()[0])

    def begin(self, *statements: str, first: Iterable[Asked] = ()) -> tuple[list[Row], list[tuple[Asked, list[Row]]]]:
        """Open a transaction with these statements, and perhaps its *first* ones of others, in one round trip.

        The server begins while *first* is gone through, perhaps a second time. Returns the rows of the last of the
        statements, and each of *first* with its own.
        """
        if self._wire is None:
            told = self._again(lambda: self._one_after_another(statements))
            self._open = True
            return told, [(asked, self.execute(*asked.say()).fetchall()) for asked in first]
        begun: tuple[list[Row], list[tuple[Asked, list[Row]]]] = self._again(lambda: self._begun(statements, first))
        self._open = True
        return begun

    def _begun(self, statements: Sequence[str], first: Iterable[Asked]) -> Any:
        wire = self._wire
        assert wire is not None
        begun = [wire.put(sql) for sql in statements]
        goes_ahead = not isinstance(first, Sequence)
        # No unit: should it be refused to begin, nothing of what comes first may be run by itself. Until all of it is
        # said, for a fraction of a millisecond, what is locked is held for as long as the connection seems to be there.
        if goes_ahead:
            wire.send(ends=False)
        asked = []
        for one in first:
            if goes_ahead:
                wire.send(ends=False)
            asked.append((one, wire.put(*one.say())))
        wire.hear()
        return begun[-1].fetchall(), [(one, answer.fetchall()) for one, answer in asked]

    def commit(self) -> str:
        """Commit, and return what the server says it did."""
        try:
            return str(self.execute("COMMIT").statusmessage)
        finally:
            self._open = False

    def rollback(self) -> None:
        """Roll back."""
        try:
            # What was sent must have ended, however it did: after an error the server reads nothing but the end of it.
            with suppress(self._psycopg.Error):
                self._hear()
            self.execute("ROLLBACK")
        finally:
            self._open = False

    def script(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        """Run SQL that names tables without their schema and parameters by ``?``, and return its rows."""
        self._hear()
        if not self.is_inside:
            self.execute("SELECT 1")  # what finds out that the connection was lost, and replaces it
            with self._raw.transaction():
                return self._script(sql, parameters)
        before = self.execute("SELECT current_setting('search_path')").fetchone()[0]
        rows = self._script(sql, parameters)
        self.execute("SELECT set_config('search_path', %s, true)", (before,))
        return rows

    def _script(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        # What looks at everything is planned as the server likes best.
        free = "".join(f", set_config('{setting}', 'on', true)" for setting in BY_KEY)
        self.execute(f"SELECT set_config('search_path', %s, true){free}", (self._path,))
        told = sql.replace("%", "%%").replace("?", "%s") if parameters else sql
        cursor = self._cursor.execute(told, parameters or None, prepare=False)
        return cursor.fetchall() if cursor.description else []

    @property
    def is_inside(self) -> bool:
        """Whether a transaction is open, also one that the program opened."""
        status = self._psycopg.pq.TransactionStatus
        return bool(self._raw.info.transaction_status in (status.INTRANS, status.INERROR, status.ACTIVE))

    @property
    def is_settled(self) -> bool:
        """Whether the session is ours alone, so that statements may be prepared and settings made for it."""
        return self._raw.prepare_threshold is not None

    @property
    def closed(self) -> bool:
        """Whether nothing more can be said on it."""
        return bool(self._raw.closed)

    def close(self) -> None:
        """Close it."""
        self._raw.close()


class _Told:
    """What a cursor, which is used again, was told of one statement."""

    def __init__(self, cursor: Any) -> None:
        self.rowcount: int = cursor.rowcount
        self._rows: list[Row] = cursor.fetchall() if cursor.description else []

    def fetchall(self) -> list[Row]:
        """Return all rows."""
        return self._rows
