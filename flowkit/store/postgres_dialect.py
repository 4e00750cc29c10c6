"""What PostgreSQL does differently, each with the reason."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs
import peewee

from flowkit.store.lists import (
    KEY,
    VALUE,
    Array,
    Marker,
    RowsByKey,
    by_key,
    keys_of,
    named_numbers,
    numbers,
    place,
    texts,
)
from flowkit.store.statements import Statement, compile_query

_TYPES = {"AUTO": "integer", "BIGINT": "bigint", "INT": "integer", "TEXT": "text", "BLOB": "bytea"}


@attrs.define
class PostgresDialect:
    """PostgreSQL: many writers at a time, so rows are locked in one order: runs by key, then queues, then steps.

    Every lock is ``NO KEY UPDATE``: a foreign key's check, which asks for a share of the key, then never waits.
    """

    namespace: str
    database: Any = attrs.field(factory=lambda: peewee.PostgresqlDatabase(None, prefer_psycopg3=True))

    name = "postgresql"
    # Read committed: each statement sees what was committed before it began, so what is read after a lock is current.
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
    begin_reading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    one_writer = False
    shares = 500
    elsewhere = "give flowkit a schema of its own, PostgresStore(..., schema=...)"

    @property
    def schema(self) -> str:
        """The schema, quoted."""
        return '"' + self.namespace.replace('"', '""') + '"'

    @property
    def sequences(self) -> Mapping[str, str]:
        """The sequence of runs' keys, and the one that PostgreSQL itself makes for lanes."""
        return {"run": f"{self.schema}.run_keys", "lane": f"{self.schema}.lanes_id_seq"}

    def compile(self, query: Any) -> Statement:
        """Return *query* as a statement; a plain INSERT of one row also as one of many."""
        statement = compile_query(self.database, query, "%s")
        head, _, values = statement.sql.partition(" VALUES ")
        if not isinstance(query, peewee.ModelInsert) or not values or "ON CONFLICT" in values:
            return statement
        # One statement for all rows costs the server a tenth of as many statements.
        fields = query.model._meta.fields
        types = [f"%s::{_TYPES[fields[marker.name].field_type]}[]" for marker in statement.markers]
        names = [f"c{number}" for number in range(len(types))]
        picked = values.replace("%s", "b.{}").strip("()").format(*names)
        bulk = f"{head} SELECT {picked} FROM unnest({', '.join(types)}) AS b({', '.join(names)})"
        return attrs.evolve(statement, bulk=bulk)

    def keys(self, name: str) -> Any:
        """Return the bound integers."""
        return Array(self._elements(name, numbers, "bigint"), self._cell(name, VALUE, "bigint"))

    def texts(self, name: str) -> Any:
        """Return the bound strings."""
        return Array(self._elements(name, texts, "text"), self._cell(name, VALUE, "text"))

    @staticmethod
    def _elements(name: str, write: Callable[[Any], str], type_: str) -> Any:
        elements = peewee.fn.json_array_elements_text(place(Marker(name, write)).cast("json")).alias("e")
        return peewee.Select([elements], [peewee.SQL(f"e::{type_}")])

    @staticmethod
    def _cell(name: str, column: int, type_: str) -> Any:
        return place(Marker(name, column=column)).cast(type_)

    def batch(self, name: str, of: Any, *columns: str, texts: Collection[str] = ()) -> Any:
        """Return the bound rows as a table ``b``; what is not said to be text is a number."""
        types = {column: "text" if column in texts else "bigint" for column in (KEY, *columns)}
        cells = {column: self._cell(name, at, type_) for at, (column, type_) in enumerate(types.items())}
        found = (peewee.SQL("(b.j->"), of.cast("text"))
        picked = {
            column: peewee.NodeList((*found, peewee.SQL(f"->>{at})::{types[column]}")))
            for at, column in enumerate(columns)
        }
        rows = place(Marker(name, by_key)).cast("jsonb")
        return RowsByKey(rows, of, cells, self._elements(name, keys_of, types[KEY]), picked).alias("b")

    def members(self, name: str) -> Any:
        """Return the bound numbers, by their groups and texts."""
        groups = peewee.fn.json_each(place(Marker(name, named_numbers)).cast("json")).alias("g")
        pairs = peewee.fn.json_each_text(peewee.SQL("g.value")).alias("p")
        group = peewee.SQL("g.key::bigint").alias("group")
        columns = [group, peewee.SQL("p.key").alias("text"), peewee.SQL("p.value::bigint").alias("number")]
        return peewee.Select([groups, pairs], columns).alias("m")

    def text_in(self, column: Any, name: str) -> Any:
        """Return the text that a JSON object in a column has under a name."""
        return peewee.fn.json_extract_path_text(column.cast("json"), name)

    def locked(self, query: Any) -> Any:
        """Return *query* with its rows locked."""
        return query.for_update("FOR NO KEY UPDATE")

    def claimed(self, query: Any) -> Any:
        """Return *query* with those of its rows locked that nobody else holds; it never waits."""
        return query.for_update("FOR NO KEY UPDATE SKIP LOCKED")

    def among(self, column: Any, query: Any) -> Any:
        """Return the condition that *column* is in a query; after IN one that locks may be asked again for each row."""
        return column == peewee.fn.ANY(peewee.fn.ARRAY(query))

    def checked(self, condition: Any) -> Any:
        """Return *condition* so that no partial index is taken for it, whose rows may be few now and many soon."""
        return peewee.fn.COALESCE(condition, peewee.SQL("false"))

    def alone(self, name: str) -> Any:
        """Return a query that takes a lock for each string, of this store alone; it ends with the transaction."""
        mine = peewee.fn.hashtextextended(peewee.SQL("e"), zlib.crc32(self.schema.encode()))
        names = self._elements(name, texts, "text").alias("names")
        return peewee.Select([names], [peewee.fn.pg_advisory_xact_lock(mine)])

    @property
    def under_way(self) -> int:
        """The lock that every transaction which may lease holds, together with all others."""
        return zlib.crc32(f"leasing {self.schema}".encode())

    def checks(
        self, table: str, fields: Mapping[str, Any], conditions: Sequence[str]
    ) -> tuple[Sequence[str], Sequence[Any]]:
        """Return a constraint that asks a function, and the function.

        A constraint is read and prepared anew for every statement that writes to its table: measured, 45 us for the
        conditions of a step, as long as two updates take. Those of a function are prepared once in a transaction.
        """
        whole = " AND ".join(f"({condition})" for condition in conditions)
        used = {name: _TYPES[field.field_type] for name, field in fields.items() if re.search(rf"\b{name}\b", whole)}
        function = f"{self.schema}.{table}_are_sound"
        typed = ", ".join(f"{name} {type_}" for name, type_ in used.items())
        made = f"CREATE FUNCTION {function}({typed}) RETURNS boolean LANGUAGE plpgsql IMMUTABLE"
        return (f"{made} AS $$ BEGIN RETURN {whole}; END $$",), [peewee.Check(f"{function}({', '.join(used)})")]

    def columns_of(self, name: str) -> str:
        """Return SQL that gives the names of a table's columns, those of the system among them."""
        return f"SELECT attname FROM pg_attribute WHERE attrelid = to_regclass({_quoted(f'{self.schema}.{name}')})"

    def migrating(self) -> str | None:
        """Return SQL that waits until no other process migrates this schema; the lock ends with the transaction."""
        return f"SELECT pg_advisory_xact_lock(hashtextextended({_quoted(f'flowkit.{self.namespace}')}, 0))"

    def founding(self) -> tuple[str, ...]:
        """Return SQL that makes the schema, who found it there needs no right to make one, and the sequence of runs."""
        missing = f"to_regnamespace({_quoted(self.schema)}) IS NULL"
        schema = f"DO $$ BEGIN IF {missing} THEN CREATE SCHEMA {self.schema}; END IF; END $$"
        return schema, f"CREATE SEQUENCE {self.sequences['run']}"

    def holding(self, names: Collection[str]) -> str | None:
        """Return SQL that waits for those who write, and keeps others from it; readers go on."""
        return f"LOCK TABLE {', '.join(f'{self.schema}.{name}' for name in names)} IN EXCLUSIVE MODE"

    def counting_on(self) -> str | None:
        """Return SQL that sets the sequence of the lanes."""
        sequence = f"pg_get_serial_sequence({_quoted(f'{self.schema}.lanes')}, 'id')"
        return f"SELECT setval({sequence}, COALESCE(max(id), 0) + 1, false) FROM {self.schema}.lanes"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
