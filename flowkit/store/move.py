"""Copies one store to another, unfinished runs included, and compares both row by row before anything is committed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import peewee
from peewee import fn

from flowkit.errors import ConfigError, StoreBusy, StoreError
from flowkit.store.counters import NAMES, Counters
from flowkit.store.database import Row, Session
from flowkit.store.engine import Engine
from flowkit.store.statements import insert_into, param

ANNOUNCED = ("kinds", "packages", "queues")
"""What a Runtime writes into a store as soon as it is opened on it: it makes no store one that is in use."""

STAYING = ("meta", "workers")
"""Meta is each store's own but for its counters; a worker announces itself where it works."""

FEW, MANY = 50, 2_000
"""How many rows are read at a time: few where a row may hold megabytes."""

HEAVY = ("run_inputs", "specs", "results", "records", "artifacts", "history", "attempts")

_WIDTH = 1 << 256


@attrs.frozen
class Moved:
    """What was copied: rows by table, and how many of the runs have not ended."""

    rows: Mapping[str, int]
    unfinished: int


def move(source: Engine, target: Engine) -> Moved:
    """Copy all that *source* holds into *target*, in one transaction there; nobody writes to *source* meanwhile.

    Afterwards runs go on in *target*: what waits, waits for the same, and a lease that ran out is taken back there.
    The source is left as it was.

    Raises:
        StoreBusy: workers hold leases in the source; it names them.
        ConfigError: the target has runs already, or is the source.
        StoreError: what the target gives back is not what was copied; nothing was committed there.
    """
    with source.write() as reading:
        _run(reading, source.db.dialect.holding(names_of(source)))
        refuse_held(source, reading)
        with target.write() as writing:
            refuse_used(target, writing)
            rows = {}
            for name in names_of(source):
                rows[name] = _copy(_Table.of(source, name), reading, _Table.of(target, name), writing)
            _copy_counters(source, reading, target, writing)
            _run(writing, target.db.dialect.counting_on())
            return Moved(rows, _unfinished(source, reading))


def _run(tx: Session, sql: str | None) -> None:
    if sql is not None:
        tx.script(sql)


def names_of(engine: Engine) -> list[str]:
    """Return the tables that are moved, parents first."""
    names = [model._meta.table_name for model in engine.tables.all()]
    return [name for name in names if name not in STAYING]


def refuse_held(engine: Engine, tx: Session) -> None:
    """Refuse a store in which a lease is valid.

    Raises:
        StoreBusy: there are some; it names their workers.
    """
    s = engine.tables.steps
    held = s.select(s.worker, fn.COUNT(s.key)).where((s.status == "running") & (s.expires_at > param("now")))
    rows = tx.rows(engine.db.compile(held.group_by(s.worker).order_by(s.worker)), now=tx.now())
    if rows:
        named = ", ".join(f"{worker} ({count} step{'s' if count > 1 else ''})" for worker, count in rows)
        raise StoreBusy(f"workers hold leases in the store: {named}; stop them, and move when they have stopped")


def refuse_used(engine: Engine, tx: Session) -> None:
    """Refuse a target that is in use, and take out of it what only announces.

    Raises:
        ConfigError: it has runs, or had some.
    """
    for name in ("runs", "lanes"):
        model = getattr(engine.tables, name)
        count = tx.rows(engine.db.compile(model.select(fn.COUNT(peewee.SQL("*")))))[0][0]
        if count:
            raise ConfigError(f"the target is not empty: it has {count} {name}; name a new one, nothing was changed")
    for name in ANNOUNCED:
        tx.run(engine.db.compile(getattr(engine.tables, name).delete()))


def _unfinished(engine: Engine, tx: Session) -> int:
    r = engine.tables.runs
    return int(tx.rows(engine.db.compile(r.select(fn.COUNT(r.key)).where(r.ended_at.is_null())))[0][0])


@attrs.frozen
class _Table:
    """One table of one store, read in the order of its key."""

    engine: Engine
    model: Any
    fields: tuple[Any, ...]
    key: tuple[Any, ...]

    @classmethod
    def of(cls, engine: Engine, name: str) -> _Table:
        model = getattr(engine.tables, name)
        primary = model._meta.primary_key
        names = primary.field_names if isinstance(primary, peewee.CompositeKey) else (primary.name,)
        key = tuple(model._meta.fields[field] for field in names)
        return cls(engine, model, tuple(model._meta.sorted_fields), key)

    def pages(self, tx: Session) -> Iterator[list[Row]]:
        """Yield all rows, some at a time."""
        size = FEW if self.model._meta.table_name in HEAVY else MANY
        query = self.model.select(*self.fields).order_by(*self.key).limit(size)
        after = peewee.Tuple(*self.key) > peewee.Tuple(*(param(field.name) for field in self.key))
        first, next_ = self.engine.db.compile(query), self.engine.db.compile(query.where(after))
        page = tx.rows(first)
        while page:
            yield page
            last = dict(zip((field.name for field in self.fields), page[-1]))
            page = tx.rows(next_, **{field.name: last[field.name] for field in self.key})


@attrs.define
class _Digest:
    """How many rows there are, and a sum over the hash of each, whatever their order."""

    count: int = 0
    total: int = 0

    def add(self, rows: list[Row]) -> None:
        """Take rows in."""
        for row in rows:
            plain = tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
            # The order of a key of text is the database's own, so the sum must not depend on it.
            digest = hashlib.sha256(repr(plain).encode("utf-8", "surrogatepass")).digest()
            self.total = (self.total + int.from_bytes(digest, "big")) % _WIDTH
        self.count += len(rows)


def _copy(source: _Table, reading: Session, target: _Table, writing: Session) -> int:
    insert = target.engine.db.compile(insert_into(target.model, tuple(field.name for field in target.fields)))
    given, taken = _Digest(), _Digest()
    for page in source.pages(reading):
        given.add(page)
        writing.many(insert, page)
    for page in target.pages(writing):
        taken.add(page)
    if given != taken:
        name = source.model._meta.table_name
        raise StoreError(
            f"the target gives back other rows of {name} than were copied ({taken.count} of {given.count}, or with "
            "another content); nothing was committed there"
        )
    return given.count


def _copy_counters(source: Engine, reading: Session, target: Engine, writing: Session) -> None:
    given, taken = Counters(source.db, source.tables), Counters(target.db, target.tables)
    for name in NAMES:
        taken.go_on_after(writing, name, given.last(reading, name))
    lanes = reading.rows(source.db.compile(source.tables.lanes.select(fn.MAX(source.tables.lanes.id))))
    taken.go_on_after(writing, "lane", lanes[0][0] or 0)
    m = source.tables.meta
    read = source.db.compile(m.select(m.key, m.number).where(m.key.in_(["clock_high", "repairs"])))
    t = target.tables.meta
    write = target.db.compile(t.update({t.number: param("number")}).where(t.key == param("key")))
    for key, number in reading.rows(read):
        writing.run(write, key=key, number=number)
