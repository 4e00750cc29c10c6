"""Lists and rows bound as one parameter; and how the same is said of one value or row alone, which costs half as much.

A list is one parameter, of JSON, whatever its length, so that a statement is compiled once. To read it, SQLite opens
tables: measured, 11 us for a SELECT by a list of one key and 4 us by the key, 22 and 11 us for an UPDATE that returns.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import attrs
import peewee

VALUE = -1
"""The column that a value is in which is no row."""

KEY = "key"
"""The first column of rows: the key of what a row is about."""

SINGLE = "@single"
"""Stands where a table of rows would be, in a statement about one row; no SQL has it."""


@attrs.frozen
class Marker:
    """Stands where a parameter will be bound, by name.

    Attributes:
        write: writes a value as the database wants it; a list, or rows, as one parameter.
        column: which column of the only row is bound, in a statement about one row; ``VALUE`` for the row itself.
    """

    name: str
    write: Callable[[Any], str] | None = None
    column: int | None = None


Pick = Callable[[Any], "tuple[Any, ...]"]
"""Picks parameters out of what there is to be bound; a statement is said often, and compiled once."""


def picker(keys: Sequence[Any]) -> Pick:
    """Return what picks the values of these keys, or at these places, in this order."""
    if len(keys) == 1:
        return lambda values: (values[keys[0]],)
    return itemgetter(*keys) if keys else lambda _: ()


def picked(markers: Sequence[Marker]) -> Pick:
    """Return what picks parameters out of values by their names."""
    return _written(markers, picker([marker.name for marker in markers]))


def picked_of_one(markers: Sequence[Marker], listed: str) -> Pick:
    """Return what picks the parameters of a statement about one row, or value, out of the list that it is alone in."""
    if all(marker.column is None for marker in markers):
        return picked(markers)
    given = list(dict.fromkeys(marker.name for marker in markers if marker.column is None))
    places = [
        given.index(marker.name) if marker.column is None else len(given) + max(0, marker.column) for marker in markers
    ]
    values_of, pick = picker(given), picker(places)
    if any(marker.column == VALUE for marker in markers):
        return _written(markers, lambda values: pick((*values_of(values), values[listed][0])))
    return _written(markers, lambda values: pick((*values_of(values), *values[listed][0])))


def without_nulls(sql: str, rows: Sequence[Sequence[Any]]) -> tuple[str, Iterable[Sequence[Any]]]:
    """Return an INSERT with NULL written where no row has a value, and the rows without these places.

    Of every None the sqlite3 module asks whether somebody adapts it: measured, 0.24 us, four times as long as a number.
    """
    count = len(rows)
    empty = [at for at, value in enumerate(rows[0]) if value is None]
    empty = [at for at in empty if list(map(itemgetter(at), rows)).count(None) == count]
    if not empty:
        return sql, rows
    text, pick = _spared(sql, tuple(empty))
    return text, map(pick, rows)


@functools.lru_cache(maxsize=256)
def _spared(sql: str, empty: tuple[int, ...]) -> tuple[str, Pick]:
    pieces = sql.split("?")
    places = ["NULL" if at in empty else "?" for at in range(len(pieces) - 1)]
    kept = [at for at, place in enumerate(places) if place == "?"]
    return "".join(itertools.chain(*zip(pieces, places), pieces[-1:])), picker(kept)


def _written(markers: Sequence[Marker], pick: Pick) -> Pick:
    writes = [marker.write for marker in markers]
    if not any(writes):
        return pick

    def written(values: Any) -> tuple[Any, ...]:
        found = zip(writes, pick(values))
        return tuple([value if write is None or value is None else write(value) for write, value in found])

    return written


def place(marker: Marker) -> Any:
    """Return the place of a parameter in a query; the caller converts what it binds."""
    return peewee.Value(marker, converter=False)


class Listed(peewee.Node):
    """The values of a list, for IN: a subquery, or the one value."""

    def __init__(self, many: Any, one: Any) -> None:
        self.many, self._one = many, one

    def __sql__(self, ctx: Any) -> Any:
        return ctx.sql(peewee.EnclosedNodeList((self._one,)) if ctx.state.single else self.many)

    def holds(self, column: Any) -> Any:
        """Return the condition that a column's value is among them, for a column by which rows are found."""
        return column.in_(self)


class Array(Listed):
    """The values of a list where a subquery after IN is joined.

    Such a join may begin with the table, by what was known of it when it was small, and reads all of it then.
    """

    def holds(self, column: Any) -> Any:
        """Return the condition that a column's value is among them: each is looked for in the column's index."""
        return _Either(column == peewee.fn.ANY(peewee.fn.ARRAY(self.many)), column.in_(self))


class _Either(peewee.ColumnBase):
    def __init__(self, many: Any, one: Any) -> None:
        self._many, self._one = many, one

    def __sql__(self, ctx: Any) -> Any:
        return ctx.sql(self._one if ctx.state.single else self._many)


class Rows(peewee.Select):
    """The rows of a list, as a table: nothing at all where there is one, whose columns are bound where they are named.

    Args:
        of: the column that has the key, a row's first value, of what a row is about.
        cells: by column, what stands for it where there is one row.
    """

    def __init__(self, source: list[Any], columns: list[Any], of: Any, cells: Mapping[str, Any]) -> None:
        super().__init__(source, columns)
        self.of = of
        self._cells = cells

    @property
    def c(self) -> _Cells:
        """The columns."""
        return _Cells(self)

    def column(self, name: str) -> Any:
        """Return a column, where there are many rows."""
        return peewee.Column(self, name)

    def cell(self, name: str) -> Any:
        """Return what stands for a column where there is one row."""
        return self._cells[name]

    @property
    def is_named(self) -> Any:
        """The condition that what is looked for is what a row is about."""
        return self.of == getattr(self.c, KEY)

    def __sql__(self, ctx: Any) -> Any:
        written: Any = super().__sql__
        return ctx.literal(SINGLE) if ctx.state.single else written(ctx)


class RowsByKey(Rows):
    """The rows of a list where tables are joined in any order: a table of one row, in which each is found by its key.

    A table of them all would be read once for each row of the other: of 64 rows that takes three times as long, of
    1,000 twenty-five times.

    Args:
        keys: the keys of the rows.
        picked: by column, what finds its value.
    """

    def __init__(self, rows: Any, of: Any, cells: Mapping[str, Any], keys: Any, picked: Mapping[str, Any]) -> None:
        # What a function returns is kept while the other table is read; an expression would be computed each time.
        once = peewee.NodeList((peewee.SQL("unnest(ARRAY["), rows, peewee.SQL("]) AS j")))
        super().__init__([once], [peewee.SQL("j")], of, cells)
        self._keys = keys
        self._picked = picked

    def column(self, name: str) -> Any:
        """Return a column, where there are many rows."""
        return self._picked[name]

    @property
    def is_named(self) -> Any:
        """The condition that what is looked for is what a row is about: each is sought in the column's index."""
        return _Either(self.of == peewee.fn.ANY(peewee.fn.ARRAY(self._keys)), self.of == self.cell(KEY))


class _Cells:
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        return _Cell(self._rows, name)


class _Cell(_Either):
    def __init__(self, rows: Rows, name: str) -> None:
        super().__init__(rows.column(name), rows.cell(name))


def without_table(sql: str) -> str | None:
    """Return a statement about one row without the table that the row would be in; None if it cannot do without."""
    bare = sql.replace(f" FROM {SINGLE} WHERE", " WHERE").replace(f", {SINGLE} WHERE", " WHERE")
    return None if SINGLE in bare else bare


def numbers(values: Iterable[int]) -> str:
    """Write numbers as a JSON list; ``json.dumps`` takes ten times as long, for it makes an encoder each time."""
    return str(list(values))


def number_rows(rows: Iterable[Iterable[int]]) -> str:
    """Write rows of numbers as a JSON list of lists."""
    return str([list(row) for row in rows])


def named_numbers(values: Mapping[int, Mapping[str, int]]) -> str:
    """Write numbers by their names, by group, as a JSON object of objects."""
    return json.dumps(values)


def texts(values: Iterable[Any]) -> str:
    """Write strings, or rows with strings in them, as a JSON list."""
    return json.dumps(list(values))


def keys_of(rows: Iterable[Sequence[Any]]) -> str:
    """Write the keys of rows, their first values, as a JSON list."""
    return texts(row[0] for row in rows)


def by_key(rows: Iterable[Sequence[Any]]) -> str:
    """Write rows as a JSON object, by their keys; of two with one key that of the later epoch, which alone may hold."""
    return json.dumps({row[0]: row[1:] for row in sorted(rows, key=itemgetter(0, 1))})


def writer_of(texts_in: Collection[str]) -> Callable[[Any], str]:
    """Return what writes rows that have these columns of text."""
    return texts if texts_in else number_rows
