"""A worker tells the store that it is there and what it serves, and now and then that it still is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

from flowkit.clock import Clock, Micros
from flowkit.errors import StoreError
from flowkit.model.worker import SILENCE, WorkerInfo
from flowkit.runtime.presence import live_workers, own_presence
from flowkit.store.engine import Engine

EVERY: Micros = SILENCE * 2 // 5
"""How often a worker says that it is still there: several times before others take it for gone."""


class Announcement:
    """What one running worker has told the store about itself.

    Args:
        worker_id: the name under which it leases; its process is told apart by number.
        kinds: gives the kinds that it serves now.
    """

    def __init__(self, engine: Engine, clock: Clock, worker_id: str, kinds: Callable[[], Collection[str]]) -> None:
        self._engine = engine
        self._clock = clock
        self._kinds = kinds
        self._here = own_presence()
        self._id = f"{worker_id}/{self._here.pid}"
        self._since: Micros = clock.now()
        self._told: tuple[Collection[str], Micros] | None = None
        self.queues: Collection[str] | None = None

    def refresh(self) -> None:
        """Say that the worker is there, where what was said is old or not true any more; forget those that died."""
        kinds, now = self._kinds(), self._clock.now()
        if self._told is not None and self._told[0] == kinds and 0 <= now - self._told[1] < EVERY:
            return
        here = self._here
        queues = tuple(sorted(self.queues)) if self.queues is not None else None
        info = WorkerInfo(self._id, here.host, here.pid, here.born, tuple(sorted(kinds)), self._since, now, queues)
        with self._engine.write() as tx:
            known = self._engine.workers.all(tx)
            live = {worker.id for worker in live_workers(known, now)}
            self._engine.workers.forget(tx, [worker.id for worker in known if worker.id not in live])
            self._engine.workers.announce(tx, info)
        self._told = kinds, now

    def end(self) -> None:
        """Say that the worker stopped; where the store cannot be written, others find that out by its silence."""
        with suppress(StoreError), self._engine.write() as tx:
            self._engine.workers.leave(tx, self._id)
