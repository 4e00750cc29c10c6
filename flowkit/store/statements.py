"""Queries built by peewee once and run many times: building one costs 15 to 30 times what running it costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol, TypeVar

import attrs

from flowkit.model.struct import struct
from flowkit.store.lists import Marker, Pick, picked, picked_of_one, place, without_table

Owner = TypeVar("Owner", bound="HasDatabase")


Said = tuple[str, "tuple[Any, ...]"]
"""SQL, and its parameters in the order that it wants them."""


@attrs.frozen
class Single:
    """What a statement about a list is where there is one value or row in it.

    Attributes:
        listed: the name of the list.
        pick: gives the parameters, in order.
    """

    sql: str
    markers: tuple[Marker, ...]
    listed: str
    pick: Pick = attrs.field(init=False, eq=False, repr=False)

    @pick.default
    def _picked(self) -> Pick:
        return picked_of_one(self.markers, self.listed)


@attrs.frozen(eq=False)
class Statement:
    """SQL with its parameters, in order.

    Attributes:
        bulk: the same for any number of rows at once, its parameters one list for each column, where there is such.
        listed: the name of the only list that is bound, where it may be that one value or row in it can be said better.
        pick: gives the parameters, in order.
    """

    sql: str
    markers: tuple[Marker, ...]
    bulk: str | None = None
    listed: str | None = None
    compile_single: Callable[[str], Single | None] = attrs.field(default=lambda _: None, repr=False)
    pick: Pick = attrs.field(init=False, repr=False)
    _single: list[Single | None] = attrs.field(init=False, factory=list, repr=False)

    @pick.default
    def _picked(self) -> Pick:
        return picked(self.markers)

    @property
    def single(self) -> Single | None:
        """The same for a list of one, where there is such; compiled when it is said first."""
        # Not a cached property: until Python 3.12 one lock serves all statements, and a child that is forked while
        # another thread compiles one would wait for it for ever.
        if not self._single:
            self._single.append(self.compile_single(self.listed) if self.listed is not None else None)
        return self._single[0]

    def say(self, values: dict[str, Any]) -> Said:
        """Return the SQL, and the parameters in the order that it wants them."""
        if self.listed is not None:
            given = values[self.listed]
            if given is not None and len(given) == 1 and (single := self.single) is not None:
                return single.sql, single.pick(values)
        return self.sql, self.pick(values)


@struct(eq=False)
class Asked:
    """A statement with what it asks for."""

    statement: Statement
    values: dict[str, Any]

    def say(self) -> Said:
        """Return the SQL, and the parameters in the order that it wants them."""
        return self.statement.say(self.values)


class Compiles(Protocol):
    """What turns a peewee query into a statement."""

    def compile(self, query: Any) -> Statement:
        """Return *query* as a statement of this database's dialect."""


class HasDatabase(Protocol):
    """A store module: it has a database to compile for."""

    @property
    def db(self) -> Compiles:
        """The database."""


def param(name: str, write: Callable[[Any], str] | None = None) -> Any:
    """Return the place of a parameter in a query; the caller converts what it binds, unless *write* does."""
    return place(Marker(name, write))


def statement(build: Callable[[Owner], Any]) -> cached_property[Statement]:
    """Make a method that builds a query into an attribute that holds it compiled."""

    def compiled(owner: Owner) -> Statement:
        return owner.db.compile(build(owner))

    compiled.__doc__ = build.__doc__
    return cached_property(compiled)


def compile_query(database: Any, query: Any, placeholder: str) -> Statement:
    """Turn a peewee query into SQL; constants are written into it, so that partial indexes are recognised."""
    sql, markers = _compiled(database.get_sql_context(), query, placeholder)
    lists = {marker.name for marker in markers if marker.write is not None}

    def single(listed: str) -> Single | None:
        text, places = _compiled(database.get_sql_context(single=True), query, placeholder)
        needs_list = any(marker.write is not None and marker.column is None for marker in places)
        bare = None if needs_list else without_table(text)
        return Single(bare, places, listed) if bare is not None else None

    return Statement(sql, markers, None, lists.pop(), single) if len(lists) == 1 else Statement(sql, markers)


def _compiled(context: Any, query: Any, placeholder: str) -> tuple[str, tuple[Marker, ...]]:
    sql, values = context.sql(query).query()
    pieces = sql.split(placeholder)
    if placeholder == "%s":
        # The driver reads a single % as the beginning of a placeholder.
        pieces = [piece.replace("%", "%%") for piece in pieces]
    if len(pieces) != len(values) + 1:
        raise ValueError(f"cannot compile {sql!r}: a constant holds {placeholder!r}")
    markers: list[Marker] = []
    text = [pieces[0]]
    for value, piece in zip(values, pieces[1:]):
        if isinstance(value, Marker):
            markers.append(value)
            text.append(placeholder)
        else:
            literal = _literal(value)
            text.append(literal.replace("%", "%%") if placeholder == "%s" else literal)
        text.append(piece)
    return "".join(text), tuple(markers)


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
