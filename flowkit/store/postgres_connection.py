"""One connection to PostgreSQL, and how a session speaks to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flowkit.clock import FollowingClock, Micros
from flowkit.errors import MissingExtra
from flowkit.store.sessions import Row, Session
from flowkit.store.statements import Statement

TIME = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
ROWS_AT_ONCE = 5000
"""How many rows one INSERT takes at most."""


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
        self._use(raw)

    def _use(self, raw: Any) -> None:
        self._raw = raw
        self._open = False
        self._cursor: Any = raw.cursor(row_factory=self._psycopg.rows.tuple_row)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run one statement."""
        return self._again(lambda: self._cursor.execute(sql, parameters, prepare=self._prepare))

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row; they are sent together."""
        self._again(lambda: self._cursor.executemany(sql, rows))

    def together(self, sql: str) -> Any:
        """Run several statements without parameters in one round trip, and return the last one's cursor."""

        def run() -> Any:
            cursor = self._cursor.execute(sql)
            while cursor.nextset():
                pass
            return cursor

        return self._again(run)

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

    def time(self) -> Micros:
        """Return the server's time."""
        return int(self.execute(TIME).fetchone()[0])

    def begin(self, sql: str) -> Any:
        """Open a transaction with these statements, and return the last one's cursor."""
        cursor = self.together(sql)
        self._open = True
        return cursor

    def end(self, sql: str) -> str:
        """End the transaction with these statements, and return what the server says it did."""
        try:
            return str(self.together(sql).statusmessage)
        finally:
            self._open = False

    def script(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        """Run SQL that names tables without their schema and parameters by ``?``, and return its rows."""
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
        settings = "SELECT set_config('search_path', %s, true), set_config('enable_seqscan', 'on', true)"
        self.execute(settings, (self._path,))
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


class PostgresSession(Session):
    """A session with PostgreSQL."""

    __slots__ = ()

    def exact_now(self) -> Micros:
        """Return the engine's time, asked of the server if it is the server's."""
        if isinstance(self._clock, FollowingClock):
            self._clock.ask(self._raw.time)
        return self._clock.now()

    def many(self, statement: Statement, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row; an INSERT takes them as one list for each column."""
        if statement.bulk is None or len(rows) < 2:
            super().many(statement, rows)
            return
        for start in range(0, len(rows), ROWS_AT_ONCE):
            self._raw.execute(statement.bulk, [list(column) for column in zip(*rows[start : start + ROWS_AT_ONCE])])

    def script(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run SQL that is not compiled, and that names the store's tables without their schema."""
        result: list[Row] = self._raw.script(sql, parameters)
        return result

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
            self._raw.end("COMMIT")
