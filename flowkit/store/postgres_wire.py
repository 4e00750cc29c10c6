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
from typing import Any, NoReturn

from flowkit.store.sessions import Row

PREPARED = 300
"""How many statements a connection keeps prepared: more than flowkit has."""

_PLACE = re.compile("%[s%]")
_WELL = (1, 2)  # what libpq calls PGRES_COMMAND_OK and PGRES_TUPLES_OK

_Typed = tuple[str, tuple[int, ...]]
"""A statement, and the types of its parameters."""


class Answer:
    """What the server answered to one statement, once it was sent; it is read as a cursor is.

    Attributes:
        result: what libpq has of it, None until it is heard.

    Args:
        transformer: turns it into rows.
    """

    __slots__ = ("_transformer", "result")

    def __init__(self, transformer: Any) -> None:
        self._transformer = transformer
        self.result: Any = None

    @property
    def rowcount(self) -> int:
        """How many rows were changed, or are there."""
        return self.result.command_tuples or 0

    @property
    def statusmessage(self) -> str:
        """What the server says it did."""
        return str(self.result.command_status.decode())

    def fetchall(self) -> list[Row]:
        """Return all rows."""
        self._transformer.set_pgresult(self.result)
        rows: list[Row] = self._transformer.load_rows(0, self.result.ntuples, tuple)
        return rows

    def fetchone(self) -> Row | None:
        """Return the first row, if there is one."""
        return next(iter(self.fetchall()), None)


_Taker = Answer | _Typed | None
"""What takes a result: the answer to a statement, one that was prepared, or nothing, at the end of a unit."""


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

    def put(self, sql: str, parameters: Sequence[Any] = ()) -> Answer:
        """Put a statement down, which is sent with what follows, and return what will have its answer; see ``hear``.

        Raises:
            psycopg.DataError: a parameter cannot be sent; the statement is not put down.
        """
        transformer = self._transformer
        try:
            values = transformer.dump_sequence(parameters, [self._auto] * len(parameters))
        except OverflowError as error:
            raise self._psycopg.DataError(str(error)) from error
        typed, answer = (sql, transformer.types or ()), Answer(transformer)
        try:
            if not self._unheard:
                self._pg.enter_pipeline_mode()
            name = self._names.get(typed) or self._prepare(typed)
            self._pg.send_query_prepared(name, values, transformer.formats)
            self._unheard.append(answer)
        except BaseException:
            self._give_up()
            raise
        return answer

    def send(self, *, ends: bool = True) -> None:
        """Send what was put down, for the server to run; the answers are heard later.

        Args:
            ends: it is a unit. After it the server waits for the client as for one that is idle in its transaction,
                with the same patience; and what follows is run also where something of it was refused.

        Raises:
            psycopg.OperationalError: the connection is lost.
        """
        try:
            if ends:
                self._pg.pipeline_sync()
                self._unheard.append(None)
            self._flush()
        except BaseException:
            self._give_up()
            raise

    def hear(self) -> None:
        """Send what was put down and not sent, and wait for all answers; each is there then.

        Raises:
            psycopg.Error: the first that the server refused; none that follows it was run.
            psycopg.OperationalError: the connection is lost.
        """
        pg, refused = self._pg, list[Any]()
        try:
            if pg.status:
                self._tell_lost()
            pg.pipeline_sync()
            self._flush()
            for taker in (*self._unheard, None):
                while pg.is_busy():
                    self._wait()
                result = pg.get_result()
                if taker is not None:
                    pg.get_result()  # the end of this answer
                if result is None or (result.status not in _WELL and pg.status):
                    self._tell_lost()
                if isinstance(taker, Answer):
                    taker.result = result
                if result.status not in _WELL and taker is not None:
                    refused.append(result)
                    if not isinstance(taker, Answer):
                        del self._names[taker]
            pg.exit_pipeline_mode()
        except BaseException:
            self._give_up()
            raise
        self._unheard = []
        if refused:
            raise self._psycopg.errors.error_from_result(refused[0], self._transformer.encoding)

    def _prepare(self, typed: _Typed) -> bytes:
        """Have a statement prepared, and return its name."""
        if len(self._names) >= PREPARED:
            forgotten = self._names.pop(next(iter(self._names)))
            self._pg.send_query_params(b"DEALLOCATE " + forgotten, None)
            self._unheard.append(Answer(self._transformer))
        name = self._names[typed] = b"flowkit_%d" % next(self._numbers)
        self._pg.send_prepare(name, _numbered(typed[0]), typed[1])
        self._unheard.append(typed)
        return name

    def _wait(self) -> None:
        self._socket.select()
        self._pg.consume_input()

    def _tell_lost(self) -> NoReturn:
        lost = self._pg.get_error_message(self._transformer.encoding)
        raise self._psycopg.OperationalError(f"the connection is lost: {lost}")

    def _give_up(self) -> None:
        # Answers that are still under way would be taken for those to what is said next.
        self._raw.close()
        self._unheard = []

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
