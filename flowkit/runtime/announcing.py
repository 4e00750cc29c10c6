"""A worker tells the store that it is there, what it serves and has room for, and now and then that it still is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from flowkit.clock import SECOND, Micros
from flowkit.errors import StoreError
from flowkit.model.worker import SILENCE, WorkerInfo
from flowkit.runtime.crew import Crew
from flowkit.runtime.presence import live_workers, own_presence
from flowkit.runtime.telemetry import Telemetry
from flowkit.store.engine import Engine

EVERY: Micros = SILENCE * 2 // 5
"""How often a worker says that it is still there: several times before others take it for gone."""

HANGS: Micros = 10 * SECOND
"""How long an attempt that was given up may take to end, before it is said to hang."""


class Announcement:
    """What one running worker has told the store about itself.

    Args:
        worker_id: the name under which it leases; its process is told apart by number.
        kinds: gives the kinds that it serves now.
    """

    def __init__(
        self, engine: Engine, crew: Crew, worker_id: str, kinds: Callable[[], Collection[str]], telemetry: Telemetry
    ) -> None:
        self._engine = engine
        self._crew = crew
        self._clock = crew.clock
        self._kinds = kinds
        self._telemetry = telemetry
        self._here = own_presence()
        self._id = f"{worker_id}/{self._here.pid}"
        self._since: Micros = self._clock.now()
        self._told: tuple[Collection[str], Mapping[str, int]] | None = None
        self._told_at: Micros = 0
        self._looked_at: Micros = self._since
        self._seen: Collection[tuple[int, int]] = ()
        self._hung: Mapping[str, int] = {}
        self.queues: Collection[str] | None = None

    def refresh(self) -> None:
        """Say that the worker is there, where what was said is old or not true any more; forget those that died."""
        kinds, now = self._kinds(), self._clock.now()
        if not 0 <= now - self._looked_at < HANGS:
            self._look(now)
        news = kinds, self._hung
        if self._told == news and 0 <= now - self._told_at < EVERY:
            return
        self._announce(kinds, now)
        self._told, self._told_at = news, now

    def _look(self, now: Micros) -> None:
        given_up = self._crew.hung
        hung = Counter(attempt.leased.kind for attempt in given_up if attempt.identity in self._seen)
        self._seen, self._looked_at = {attempt.identity for attempt in given_up}, now
        if hung.total() > sum(self._hung.values()):
            told = {"slots": self._crew.size, "hung": dict(hung)}
            hint = "executors that were given up still run: have them look at step.canceled, or use pool='process'"
            self._telemetry.log.warning("attempts_hang", hint=hint, **told)
        self._hung = hung

    def _announce(self, kinds: Collection[str], now: Micros) -> None:
        here, slots, hung = self._here, self._crew.size, dict(self._hung)
        queues = tuple(sorted(self.queues)) if self.queues is not None else None
        served = tuple(sorted(kinds))
        info = WorkerInfo(self._id, here.host, here.pid, here.born, served, self._since, now, queues, slots, hung)
        with self._engine.write() as tx:
            known = self._engine.workers.all(tx)
            live = {worker.id for worker in live_workers(known, now)}
            self._engine.workers.forget(tx, [worker.id for worker in known if worker.id not in live])
            self._engine.workers.announce(tx, info)

    def end(self) -> None:
        """Say that the worker stopped; where the store cannot be written, others find that out by its silence."""
        with suppress(StoreError), self._engine.write() as tx:
            self._engine.workers.leave(tx, self._id)
