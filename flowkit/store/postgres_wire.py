"""Statements sent to PostgreSQL, many in one round trip: prepared, and spoken by libpq itself, as psycopg wraps it.

The server runs one while the next is still being made; only who needs an answer waits.

A cursor of psycopg does the same and much more. Measured with three statements in one of its pipelines: 265 us of the
client's processor, and 63 us this way; a transaction of a worker is fifteen statements.
"""

from __future__ import annotations

import itertools
import re
import selectors
from collections.abc import Sequence
from typing import Any

from flowkit.store.sessions import Row

PREPARED = 300
"""How many statements a connection keeps prepared: more than flowkit has."""

_PLACE = re.compile("%[s%]")
_OK, _ROWS = 1, 2  # what libpq calls PGRES_COMMAND_OK and PGRES_TUPLES_OK

_Typed = tuple[str, tuple[int, ...]]
"""A statement, and the types of its parameters."""


class Answer:
    """What the server answered to one statement, once it was sent; it is read as a cursor is."""

    __slots__ = ("_result", "_transformer")

    def __init__(self) -> None:
        self._result: Any = None
        self._transformer: Any = None

    @property
    def is_there(self) -> bool:
        """Whether the statement was sent."""
        return self._result is not None

    @property
    def rowcount(self) -> int:
        """How many rows were changed, or are there."""
        return self._result.command_tuples or 0

    @property
    def statusmessage(self) -> str:
        """What the server says it did."""
        return str(self._result.command_status.decode())

    def give(self, result: Any, transformer: Any) -> None:
        """Take the answer; what *transformer* knows turns it into rows."""
        self._result, self._transformer = result, transformer

    def fetchall(self) -> list[Row]:
        """Return all rows."""
        self._transformer.set_pgresult(self._result)
        rows: list[Row] = self._transformer.load_rows(0, self._result.ntuples, tuple)
        return rows

    def fetchone(self) -> Row | None:
        """Return the first row, if there is one."""
        return next(iter(self.fetchall()), None)


Call = tuple[Answer, str, Sequence[Any]]
"""What takes the answer to a statement, the statement, and its parameters."""

_Taker = Answer | _Typed
"""What takes a result: the answer to a statement, or one that was prepared."""


class Wire:
    """Sends statements on a connection in autocommit mode, of which nobody else has the session.

    Args:
        raw: the connection of psycopg, which may be used as ever in between.
    """

    def __init__(self, raw: Any) -> None:
        import psycopg
        from psycopg.adapt import PyFormat, Transformer

        self._psycopg = psycopg
        self._auto = PyFormat.AUTO
        self._raw = raw
        self._pg = raw.pgconn
        self._transformer = Transformer(raw)
        self._names: dict[_Typed, bytes] = {}
        self._numbers = itertools.count()
        self._unheard: list[_Taker] = []
        self._socket = getattr(selectors, "PollSelector", selectors.SelectSelector)()
        self._socket.register(self._pg.socket, selectors.EVENT_READ)

    @property
    def unheard(self) -> int:
        """How many answers there are to be heard."""
        return len(self._unheard)

    def send(self, calls: Sequence[Call]) -> None:
        """Send statements in one trip with what was said before, and give each call its answer; see ``hear``."""
        self._say(calls)
        self.hear()

    def say(self, calls: Sequence[Call]) -> None:
        """Send statements, for the server to begin with; their answers are heard later.

        Raises:
            psycopg.DataError: a parameter cannot be sent; nothing was.
            psycopg.OperationalError: the connection is lost.
        """
        self._say(calls)
        try:
            self._flush()
        except BaseException:
            self._give_up()
            raise

    def hear(self) -> None:
        """Wait for the answers to all that was said, and give each call its own.

        Raises:
            psycopg.Error: the first that the server refused; none that follows it was run.
            psycopg.OperationalError: the connection is lost.
        """
        try:
            self._pg.pipeline_sync()
            self._flush()
            refused = [result for taker in self._unheard if (result := self._take(taker)) is not None]
            self._next()
            self._pg.exit_pipeline_mode()
        except BaseException:
            self._give_up()
            raise
        self._unheard = []
        if refused:
            raise self._psycopg.errors.error_from_result(refused[0], self._transformer.encoding)

    def _say(self, calls: Sequence[Call]) -> None:
        dumped = [(answer, *self._dump(sql, parameters)) for answer, sql, parameters in calls]
        try:
            if not self._unheard:
                self._pg.enter_pipeline_mode()
            for call in dumped:
                self._unheard += self._say_one(*call)
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        # Answers that are still under way would be taken for those to what is said next.
        self._raw.close()
        self._unheard = []

    def _dump(self, sql: str, parameters: Sequence[Any]) -> tuple[_Typed, Sequence[Any], Sequence[Any]]:
        transformer = self._transformer
        dumped = transformer.dump_sequence(parameters, [self._auto] * len(parameters))
        return (sql, tuple(transformer.types or ())), dumped, transformer.formats or ()

    def _say_one(self, answer: Answer, typed: _Typed, dumped: Sequence[Any], formats: Sequence[Any]) -> list[_Taker]:
        """Send one statement, which is prepared first if it was not; returns who takes the results, in order."""
        name, takers = self._names.get(typed), list[_Taker]()
        if name is None:
            if len(self._names) >= PREPARED:
                forgotten = self._names.pop(next(iter(self._names)))
                self._pg.send_query_params(b"DEALLOCATE " + forgotten, None)
                takers.append(Answer())
            name = self._names[typed] = b"flowkit_%d" % next(self._numbers)
            self._pg.send_prepare(name, _numbered(typed[0]), typed[1])
            takers.append(typed)
        self._pg.send_query_prepared(name, dumped, formats)
        return [*takers, answer]

    def _take(self, taker: _Taker) -> Any:
        """Receive one result; returns it if the server refused the statement, or ran none after one it refused."""
        result = self._next()
        self._pg.get_result()
        if isinstance(taker, Answer):
            taker.give(result, self._transformer)
        if result.status in (_OK, _ROWS):
            return None
        if not isinstance(taker, Answer):
            del self._names[taker]
        return result

    def _next(self) -> Any:
        while self._pg.is_busy():
            self._socket.select()
            self._pg.consume_input()
        result = self._pg.get_result()
        if self._pg.status:
            lost = self._pg.get_error_message(self._transformer.encoding)
            raise self._psycopg.OperationalError(f"the connection is lost: {lost}")
        return result

    def _flush(self) -> None:
        while self._pg.flush():
            # The server may have to be rid of answers before it takes more.
            self._socket.modify(self._pg.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            ready = self._socket.select()
            self._socket.modify(self._pg.socket, selectors.EVENT_READ)
            if any(events & selectors.EVENT_READ for _, events in ready):
                self._pg.consume_input()


def _numbered(sql: str) -> bytes:
    """Return SQL as the server wants it: places by number, each % by itself."""
    numbers = itertools.count(1)
    return _PLACE.sub(lambda found: f"${next(numbers)}" if found[0] == "%s" else "%", sql).encode()
