"""Queries built by peewee once and run many times: building one costs 15 to 30 times what running it costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol, TypeVar

import attrs
import peewee

Owner = TypeVar("Owner", bound="HasDatabase")


@attrs.frozen
class Marker:
    """Stands where a parameter will be bound, by name."""

    name: str


@attrs.frozen
class Statement:
    """SQL with the names of its parameters, in order.

    Attributes:
        bulk: the same for any number of rows at once, its parameters one list for each column, where there is such.
    """

    sql: str
    names: tuple[str, ...]
    bulk: str | None = None

    def bind(self, values: dict[str, Any]) -> list[Any]:
        """Return the parameters in the order that the SQL wants them."""
        return [values[name] for name in self.names]


@attrs.frozen(eq=False)
class Asked:
    """A statement with what it asks for."""

    statement: Statement
    values: dict[str, Any]

    @property
    def bound(self) -> list[Any]:
        """Return the parameters in the order that the SQL wants them."""
        return self.statement.bind(self.values)


class Compiles(Protocol):
    """What turns a peewee query into a statement."""

    def compile(self, query: Any) -> Statement:
        """Return *query* as a statement of this database's dialect."""


class HasDatabase(Protocol):
    """A store module: it has a database to compile for."""

    @property
    def db(self) -> Compiles:
        """The database."""


def param(name: str) -> Any:
    """Return the place of a parameter in a query; the caller converts what it binds."""
    return peewee.Value(Marker(name), converter=False)


def statement(build: Callable[[Owner], Any]) -> cached_property[Statement]:
    """Make a method that builds a query into an attribute that holds it compiled."""

    def compiled(owner: Owner) -> Statement:
        return owner.db.compile(build(owner))

    compiled.__doc__ = build.__doc__
    return cached_property(compiled)


def compile_query(database: Any, query: Any, placeholder: str) -> Statement:
    """Turn a peewee query into SQL; constants are written into it, so that partial indexes are recognised."""
    sql, values = database.get_sql_context().sql(query).query()
    pieces = sql.split(placeholder)
    if placeholder == "%s":
        # The driver reads a single % as the beginning of a placeholder.
        pieces = [piece.replace("%", "%%") for piece in pieces]
    if len(pieces) != len(values) + 1:
        raise ValueError(f"cannot compile {sql!r}: a constant holds {placeholder!r}")
    names: list[str] = []
    text = [pieces[0]]
    for value, piece in zip(values, pieces[1:]):
        if isinstance(value, Marker):
            names.append(value.name)
            text.append(placeholder)
        else:
            literal = _literal(value)
            text.append(literal.replace("%", "%%") if placeholder == "%s" else literal)
        text.append(piece)
    return Statement("".join(text), tuple(names))


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return "'" + str.__str__(value).replace("'", "''") + "'"
    raise TypeError(f"a constant in a query is of type {type(value).__name__}; bind it with param()")


def insert_into(model: Any, names: tuple[str, ...], **constants: Any) -> Any:
    """Return an INSERT whose parameters are *names*, in this order; *constants* are written into it."""
    values = (*(param(name) for name in names), *constants.values())
    insert = model.insert_many([values], fields=[getattr(model, name) for name in (*names, *constants)])
    # Else PostgreSQL would return the primary key of every row.
    return insert.returning()
