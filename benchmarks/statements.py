"""What a scenario's statements cost alone: recorded while flowkit runs it, then run again without flowkit.

No engine in Python that stores the same rows can be faster than this on the same disk.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from attrs import define, field, frozen

from benchmarks.flows import open_runtime
from benchmarks.measure import seconds
from flowkit import Runtime

PRAGMAS = ("synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY", "wal_autocheckpoint = 1000")


@frozen
class Said:
    """One statement as it was run, on which of the connections."""

    connection: int
    many: bool
    sql: str
    parameters: Any


@define
class Record:
    """What is said on all connections that are opened meanwhile, in order, once it is switched on."""

    is_on: bool = False
    said: list[Said] = field(factory=list)
    connections: int = 0


class Recorded(sqlite3.Connection):
    """A connection that remembers what is said on it."""

    def __init__(self, *arguments: Any, record: Record, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._record, self._number = record, record.connections
        record.connections += 1

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if self._record.is_on:
            self._record.said.append(Said(self._number, False, sql, parameters))
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        rows = list(parameters)
        if self._record.is_on:
            self._record.said.append(Said(self._number, True, sql, rows))
        return super().executemany(sql, rows)


@contextmanager
def recording() -> Iterator[Record]:
    """Record what is said on the connections that this process opens in the block."""
    record = Record()
    connect = partial(sqlite3.connect, factory=partial(Recorded, record=record))
    with mock.patch.object(sqlite3, "connect", connect):
        yield record


def seconds_alone(place: Path, prepare: Callable[[Runtime], object], work: Callable[[Runtime], object]) -> float:
    """Return how long the statements of *work* take without flowkit, on the store that *prepare* leaves."""
    store, before = place / "flowkit.db", place / "before"
    before.mkdir()
    with recording() as record, open_runtime(place) as rt:
        prepare(rt)
        for part in place.glob(f"{store.name}*"):
            if not part.name.endswith("-shm"):
                shutil.copy(part, before)
        record.is_on = True
        work(rt)
        record.is_on = False
    return _replayed(before / store.name, record.said)


def _replayed(store: Path, said: Sequence[Said]) -> float:
    connections = {number: _connected(store) for number in {one.connection for one in said}}
    calls = [
        (connections[one.connection].executemany if one.many else connections[one.connection].execute, one)
        for one in said
    ]

    def run() -> None:
        for call, one in calls:
            call(one.sql, one.parameters).fetchall()

    try:
        return seconds(run)
    finally:
        for connection in connections.values():
            connection.close()


def _connected(store: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(store, isolation_level=None, cached_statements=256)
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection
