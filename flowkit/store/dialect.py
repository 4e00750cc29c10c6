"""What databases do differently, as the questions that store modules ask, and the answers of SQLite."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import peewee

from flowkit.store.lists import KEY, VALUE, Listed, Marker, Rows, named_numbers, numbers, place, texts, writer_of
from flowkit.store.statements import Statement, compile_query


class Dialect(Protocol):
    """The differences between databases, as the few questions that store modules ask."""

    name: str
    begin: str
    begin_reading: str
    one_writer: bool
    elsewhere: str
    shares: int
    """From how many rows on it is faster to bind once what they share, and then only what tells them apart."""

    @property
    def database(self) -> Any:
        """A peewee database of this kind, never opened: models and queries are made for it."""

    @property
    def namespace(self) -> str | None:
        """The schema that the tables lie in, if they have one of their own."""

    @property
    def schema(self) -> str:
        """The name, as SQL writes it, of what the tables lie in."""

    @property
    def sequences(self) -> Mapping[str, str]:
        """By what they number, the sequences that do so, as SQL writes them; what is not here a row numbers."""

    def compile(self, query: Any) -> Statement:
        """Return *query* as a statement."""

    def keys(self, name: str) -> Any:
        """Return the integers bound as parameter *name* (a list), for IN."""

    def texts(self, name: str) -> Any:
        """Return the strings bound as parameter *name* (a list), for IN."""

    def batch(self, name: str, of: Any, *columns: str, texts: Collection[str] = ()) -> Any:
        """Return a table ``b`` from parameter *name*, a list of rows.

        Args:
            of: the column that has a row's first value, the key of what the row is about. Of two rows about the same
                the one with the greater second value counts: what is offered of an attempt whose lease was lost, beside
                a later one, is of a smaller epoch and guards nothing.
            columns: of the values that follow; *texts* are those of text, ``KEY`` among them where keys are.
        """

    def members(self, name: str) -> Any:
        """Return a table of ``group``, ``text`` and ``number`` from *name*: numbers by their texts, by group."""

    def text_in(self, column: Any, name: str) -> Any:
        """Return the text that a JSON object in a column has under a name."""

    def locked(self, query: Any) -> Any:
        """Return *query* so that its rows are locked, in its order, until the transaction ends."""

    def claimed(self, query: Any) -> Any:
        """Return *query* so that its rows are locked, and those that another transaction holds are left out."""

    def among(self, column: Any, query: Any) -> Any:
        """Return the condition that *column* is in a query, which is asked once: for one that claims."""

    def checked(self, condition: Any) -> Any:
        """Return *condition* as one that rows found by their key are checked with, and that no index is taken for."""

    def alone(self, name: str) -> Any:
        """Return a query that waits until no other transaction asks for any of the strings bound as *name*."""

    def checks(
        self, table: str, fields: Mapping[str, Any], conditions: Sequence[str]
    ) -> tuple[Sequence[str], Sequence[Any]]:
        """Return what is made before a table, and the constraints with which every row of it keeps *conditions*."""

    def columns_of(self, name: str) -> str:
        """Return SQL that gives the names of a table's columns; nothing, if the place has no such table or view."""

    def migrating(self) -> str | None:
        """Return SQL with which a transaction that migrates begins, for one at a time."""

    def founding(self) -> tuple[str, ...]:
        """Return SQL that makes the place for the tables of a new store, and what is not a table."""

    def holding(self, names: Collection[str]) -> str | None:
        """Return SQL that keeps every other transaction from writing to these tables until this one ends."""

    def counting_on(self) -> str | None:
        """Return SQL after which lanes are numbered on from those that were copied with their numbers."""


class SQLiteDialect:
    """SQLite: one writer at a time, so no row locks; lists and batches arrive as one JSON parameter."""

    name = "sqlite"
    namespace = None
    schema = "main"
    sequences: Mapping[str, str] = {}
    # Plain BEGIN is deferred: a transaction that reads before it writes is refused when another one wrote in between.
    begin = "BEGIN IMMEDIATE"
    begin_reading = "BEGIN"
    one_writer = True
    elsewhere = "give flowkit a file of its own"
    shares = 8

    def __init__(self) -> None:
        self.database = peewee.SqliteDatabase(None)

    def compile(self, query: Any) -> Statement:
        """Return *query* as a statement."""
        return compile_query(self.database, query, "?")

    def keys(self, name: str) -> Any:
        """Return the bound integers."""
        return self._listed(name, numbers)

    def texts(self, name: str) -> Any:
        """Return the bound strings."""
        return self._listed(name, texts)

    def _listed(self, name: str, write: Callable[[Any], str]) -> Any:
        elements = peewee.fn.json_each(place(Marker(name, write)))
        return Listed(peewee.Select([elements], [peewee.SQL("value")]), place(Marker(name, column=VALUE)))

    def batch(self, name: str, of: Any, *columns: str, texts: Collection[str] = ()) -> Any:
        """Return the bound rows as a table ``b``; SQLite needs no types."""
        places = dict(enumerate((KEY, *columns)))
        value = peewee.SQL("value")
        picked = [peewee.fn.json_extract(value, f"$[{at}]").alias(column) for at, column in places.items()]
        cells = {column: place(Marker(name, column=at)) for at, column in places.items()}
        return Rows([peewee.fn.json_each(place(Marker(name, writer_of(texts))))], picked, of, cells).alias("b")

    def members(self, name: str) -> Any:
        """Return the bound numbers, as members of JSON objects: to pick elements of lists takes twice as long."""
        groups = peewee.fn.json_each(place(Marker(name, named_numbers))).alias("g")
        pairs = peewee.fn.json_each(peewee.SQL("g.value")).alias("p")
        group = peewee.SQL("g.key").cast("integer").alias("group")
        columns = [group, peewee.SQL("p.key").alias("text"), peewee.SQL("p.value").alias("number")]
        return peewee.Select([groups, pairs], columns).alias("m")

    def text_in(self, column: Any, name: str) -> Any:
        """Return the text that a JSON object in a column has under a name."""
        return peewee.fn.json_extract(column, f"$.{name}")

    def checks(
        self, table: str, fields: Mapping[str, Any], conditions: Sequence[str]
    ) -> tuple[Sequence[str], Sequence[Any]]:
        """Return the constraints that keep *conditions*."""
        return (), [peewee.Check(condition) for condition in conditions]

    def locked(self, query: Any) -> Any:
        """Return *query*: who writes has the whole store."""
        return query

    def claimed(self, query: Any) -> Any:
        """Return *query*: nobody else holds anything."""
        return query

    def among(self, column: Any, query: Any) -> Any:
        """Return the condition that *column* is in a query."""
        return column.in_(query)

    def checked(self, condition: Any) -> Any:
        """Return *condition*: a key is the best way to a row."""
        return condition

    def alone(self, name: str) -> Any:
        """Return a query that does nothing: who writes is alone."""
        return self.texts(name)

    def columns_of(self, name: str) -> str:
        """Return SQL that gives the names of a table's columns."""
        return f"SELECT name FROM pragma_table_info('{name}', 'main')"

    def migrating(self) -> str | None:
        """Return nothing: who writes is alone."""
        return None

    def founding(self) -> tuple[str, ...]:
        """Return nothing: the file is the place."""
        return ()

    def holding(self, names: Collection[str]) -> str | None:
        """Return nothing: who writes is alone."""
        return None

    def counting_on(self) -> str | None:
        """Return nothing: the next number is one more than the highest."""
        return None
