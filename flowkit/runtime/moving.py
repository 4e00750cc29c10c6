"""Moves all that one store holds to another, for whoever names both by URL; programs and workers follow by theirs."""

from __future__ import annotations

import os
from contextlib import closing

from flowkit.clock import Clock, SystemClock
from flowkit.errors import ConfigError, StoreBusy
from flowkit.runtime.presence import live_workers
from flowkit.store.engine import Engine
from flowkit.store.move import Moved, move, refuse_held
from flowkit.store.stores import SQLiteStore, store_of


def move_store(source: str, target: str, *, clock: Clock | None = None) -> Moved:
    """Copy the store at one URL to another, which is made; both are opened, and brought to the present schema.

    Args:
        clock: what leases are judged by; the host's by default.

    Raises:
        ConfigError: the target has runs already, is the source, or lies in memory.
        StoreBusy: workers hold leases in the source, or wait there for work; it names them.
        StoreError: a store cannot be opened, or the copy is not equal to the original; the target was left empty.
    """
    time = clock or SystemClock()
    given, wanted = store_of(source), store_of(target)
    if isinstance(wanted, SQLiteStore) and wanted.path == ":memory:":
        raise ConfigError("the target is in memory, and would be gone at once; name a file or a database")
    if _same(given, wanted):
        raise ConfigError("the target is the source")
    first = given.open(time)
    with closing(first.db):
        _refuse_workers(first)
        second = wanted.open(time)
        with closing(second.db):
            return move(first, second)


def _same(one: object, other: object) -> bool:
    if isinstance(one, SQLiteStore) and isinstance(other, SQLiteStore) and os.path.exists(other.path):
        # By whatever names.
        return os.path.exists(one.path) and os.path.samefile(one.path, other.path)
    return repr(one) == repr(other)


def _refuse_workers(engine: Engine) -> None:
    with engine.read() as tx:
        refuse_held(engine, tx)
        live = live_workers(engine.workers.all(tx), tx.now())
    if live:
        named = ", ".join(worker.id for worker in live)
        raise StoreBusy(
            f"workers are at the store: {named}; stop them, or they go on with the same runs there "
            "(one that was killed counts as gone when it was silent for a while)"
        )
