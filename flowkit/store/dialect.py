"""What SQLite and PostgreSQL do differently, each with the reason."""

from __future__ import annotations

from typing import Any, Protocol

import peewee

from flowkit.store.statements import Statement, compile_query, param


class Dialect(Protocol):
    """The differences between databases, as the few questions that store modules ask."""

    name: str
    placeholder: str
    begin: str

    def compile(self, query: Any) -> Statement:
        """Return *query* as a statement."""

    def keys(self, name: str) -> Any:
        """Return a subquery of the integers bound as parameter *name* (a JSON array)."""

    def texts(self, name: str) -> Any:
        """Return a subquery of the strings bound as parameter *name* (a JSON array)."""

    def batch(self, name: str, *columns: str) -> Any:
        """Return a table ``b`` with these columns from parameter *name*: a JSON array of arrays."""


class SQLiteDialect:
    """SQLite: one writer at a time, so no row locks; lists and batches arrive as one JSON parameter."""

    name = "sqlite"
    placeholder = "?"
    # Plain BEGIN is deferred: a transaction that reads before it writes is refused when another one wrote in between.
    begin = "BEGIN IMMEDIATE"

    def __init__(self) -> None:
        self._database = peewee.SqliteDatabase(None)

    def compile(self, query: Any) -> Statement:
        """Return *query* as a statement."""
        return compile_query(self._database, query, self.placeholder)

    def keys(self, name: str) -> Any:
        """Return a subquery of the bound integers."""
        # One parameter whatever the length: an IN list would need one statement per length.
        return peewee.Select([peewee.fn.json_each(param(name))], [peewee.SQL("value")])

    def texts(self, name: str) -> Any:
        """Return a subquery of the bound strings."""
        return self.keys(name)

    def batch(self, name: str, *columns: str) -> Any:
        """Return the bound rows as a table ``b``."""
        picked = [
            peewee.fn.json_extract(peewee.SQL("value"), f"$[{place}]").alias(column)
            for place, column in enumerate(columns)
        ]
        return peewee.Select([peewee.fn.json_each(param(name))], picked).alias("b")
