"""Moves all that one store holds to another, for whoever names both by URL; programs and workers follow by theirs."""

from __future__ import annotations

from contextlib import closing

from flowkit.clock import Clock, SystemClock
from flowkit.errors import ConfigError, StoreBusy
from flowkit.runtime.presence import live_workers
from flowkit.store.engine import Engine
from flowkit.store.move import Moved, move, refuse_held
from flowkit.store.stores import store_of


def move_store(source: str, target: str, *, clock: Clock | None = None) -> Moved:
    """Copy the store at one URL to another, which is made; both are opened, and brought to the present schema.

    Args:
        clock: what leases are judged by; the host's by default.

    Raises:
        ConfigError: the target has runs already, or is the source.
        StoreBusy: workers hold leases in the source, or wait there for work; it names them.
        StoreError: a store cannot be opened, or the copy is not equal to the original; the target was left empty.
    """
    time = clock or SystemClock()
    given = store_of(source)
    if _same(given, store_of(target)):
        raise ConfigError("the target is the source")
    first = given.open(time)
    with closing(first.db):
        _refuse_workers(first)
        second = store_of(target).open(time)
        with closing(second.db):
            return move(first, second)


def _same(one: object, other: object) -> bool:
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
