"""The parts of one Runtime, built and wired together once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import attrs

from flowkit.artifacts import ArtifactStore
from flowkit.clock import SECOND, IdSource, Micros, micros
from flowkit.errors import ConfigError, FlowkitError, RunNotFound, RuntimeClosed
from flowkit.model.codec import Codec
from flowkit.model.events import Event
from flowkit.model.run import Run
from flowkit.model.step import Step, StepResult
from flowkit.model.worker import WorkerInfo
from flowkit.projections import ProjectionStore
from flowkit.runtime.announcing import Announcement
from flowkit.runtime.crew import Crew
from flowkit.runtime.handle import RunHandle
from flowkit.runtime.inline import Inline
from flowkit.runtime.keeper import Keeper
from flowkit.runtime.loan import Loan
from flowkit.runtime.presence import live_workers
from flowkit.runtime.recording import Recorded, Recording
from flowkit.runtime.registry import Registry
from flowkit.runtime.remote.pools import RemotePools
from flowkit.runtime.services import Services, emitting
from flowkit.runtime.settings import Settings
from flowkit.runtime.starting import Started, Starter, Wish
from flowkit.runtime.telemetry import Telemetry
from flowkit.runtime.threads import Threads
from flowkit.runtime.waiting import Waiting
from flowkit.runtime.wakeup import Wakeups
from flowkit.runtime.worker import Worker
from flowkit.scheduler.cycle import Cycle
from flowkit.store.stores import Store


def nowhere(point: str) -> None:
    """Pass a named point; tests put something else here."""


class Parts:
    """Everything a Runtime delegates to."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        codec: Codec,
        artifacts: ArtifactStore | None,
        projections: ProjectionStore | None,
    ) -> None:
        self.settings = settings
        self.codec = codec
        self.artifacts = artifacts
        self.projections = projections
        self.ids = IdSource()
        self.point: Callable[[str], None] = nowhere
        self.wait_out: Callable[[str, threading.Event, Micros | None], None] = self._wait_out
        self.engine = store.open(settings.clock)
        # A store that workers of many hosts share may go by its server's time.
        self.clock = self.engine.db.clock
        self.telemetry = Telemetry(settings.observers)
        self.telemetry.log.debug("store_opened", store=repr(store), schema_before=self.engine.version)
        self.wakeups = Wakeups(store.watcher())
        self.registry = Registry(codec, Recorded(self.engine))
        self.recording = Recording(self.engine, self.registry, codec, lambda: self.settings, self.telemetry)
        self.starter = Starter(self.engine, self.registry, codec, self.ids, lambda: self.telemetry.listening)
        self.keeper = Keeper(self.engine, self.clock, settings.lease_duration, lambda name: self.point(name))
        self.waiting = Waiting(
            self.engine,
            self.registry,
            self.wakeups,
            self.telemetry,
            settings.poll_interval,
            self.live,
        )
        self.services = self._services()
        self.remote = RemotePools(settings.pools, settings.max_workers, self.services, self.registry)
        self.crews: list[Crew] = []
        self.looping: Worker | None = None
        self.inline_lock = threading.RLock()
        self._inline: Inline | None = None
        self._abandoned: list[Crew] = []
        self._inherited: list[Crew] = []
        self._closed = False
        self.threads = Threads(self.check_open)

    def after_fork(self) -> None:
        """Go on in a forked child, without the parent's workers, threads and locks."""
        self._inherited += self.crews
        self.crews, self._inline, self.inline_lock = [], None, threading.RLock()
        self.looping = None
        self.keeper.after_fork()
        self.wakeups.after_fork()
        self.threads.after_fork()

    def check_open(self) -> None:
        """Refuse to go on after ``close``.

        Raises:
            RuntimeClosed: it was closed.
        """
        if self._closed:
            raise RuntimeClosed("the runtime is closed; make a new one")

    def _services(self) -> Services:
        return Services(
            now=self.clock.now,
            read_run=self._read_run,
            read_step=self._read_step,
            read_result=self._read_result,
            decode=self.codec.decode,
            builder=emitting(self.registry, self.codec.encode),
            logger=self.telemetry.bound,
            artifacts=self._artifact_store,
            projections=self.projection_store,
            instruments=self.telemetry.instruments if self.telemetry.instruments.around_attempts else None,
        )

    def _read_run(self, run_id: str) -> Run:
        with self.engine.read() as tx:
            run = self.engine.views.run(tx, run_id)
        if run is None:
            raise RunNotFound(run_id)
        return run

    def _read_step(self, run_id: str, step_id: str) -> Step:
        with self.engine.read() as tx:
            return self.engine.views.step(tx, run_id, step_id)

    def _read_result(self, run_id: str, step_id: str) -> StepResult | None:
        with self.engine.read() as tx:
            return self.engine.views.result(tx, run_id, step_id)

    def _artifact_store(self) -> ArtifactStore:
        if self.artifacts is None:
            raise ConfigError("this Runtime has no artifact store; give it artifact_store=FileArtifactStore(directory)")
        return self.artifacts

    def projection_store(self) -> ProjectionStore:
        """Return the projection store.

        Raises:
            ConfigError: the Runtime was given none.
        """
        if self.projections is None:
            raise ConfigError(
                "this Runtime has no projection store; give it projection_store=SQLiteProjectionStore(directory)"
            )
        return self.projections

    def worker(self) -> Worker:
        """Make a worker with a crew of its own; ``forget`` it when it is done."""
        self.recording.settle()
        settings = self.settings
        crew = Crew(self.registry, self.services, self.keeper, self.clock, settings.max_workers, self.remote)
        self.crews.append(crew)
        cycle = Cycle(self.engine, settings.worker_id, micros(settings.lease_duration), self.ids.token)
        kinds = self.registry.kinds
        return Worker(crew, cycle, kinds, self.telemetry, self.wakeups, lambda name: self.point(name))

    def _wait_out(self, run_id: str, signal: threading.Event, wake_at: Micros | None) -> None:
        # Where nothing of a run is due; tests put something here that does not wait.
        poll = self.settings.poll_interval
        left = poll if wake_at is None else (wake_at - self.clock.now()) / SECOND
        if left > 0:
            self.clock.wait(signal, min(left, poll))

    def stop_run(self, run_id: str) -> None:
        """Tell the executors of a canceled run that run here to stop."""
        for crew in list(self.crews):
            crew.stop_run(run_id)

    def abandon(self, error: BaseException) -> None:
        """Forget the workers as a kill would: nothing is settled, released or extended; their loops raise *error*."""
        self._inline = None
        for crew in list(self.crews):
            crew.crash(error)
            for attempt in crew.attempts():
                self.keeper.drop(attempt)
            self.crews.remove(crew)
            self._abandoned.append(crew)

    def forget(self, worker: Worker) -> None:
        """Close a worker's crew; what it left in flight, because something ended its loop, nobody settles any more."""
        for attempt in worker.crew.attempts():
            self.keeper.drop(attempt)
            if not attempt.settled:
                attempt.stop("lost")
        worker.crew.close()
        if worker.crew in self.crews:
            self.crews.remove(worker.crew)

    @property
    def inline(self) -> Inline:
        """The worker that runs attempts in the calling thread."""
        if self._inline is None:
            self._inline = Inline(self.worker())
        return self._inline

    def start(self, wishes: Sequence[Wish]) -> list[RunHandle[Any]]:
        """Start runs, tell of it, and give their handles."""
        instruments = self.telemetry.instruments
        started = instruments.start(wishes, self._started) if instruments.starts else self._started(wishes)
        return [RunHandle(run.id, run.package, run.name, run.created, self.waiting) for run in started]

    def _started(self, wishes: Sequence[Wish]) -> list[Started]:
        self.recording.settle()
        worker = None if self.engine.db.joins_program() else self.looping
        with Loan(worker) as loan:
            started, events = self.starter.start(wishes, loan.lease if worker is not None else None)
            try:
                self.told(events, work=not loan.is_taken)
                if loan.is_taken:
                    for run in started:
                        self.wakeups.expect(run.id, run.output)
            finally:
                # What is leased is attempted, also where Ctrl-C interrupts an observer that is told of the start.
                loan.go_on()
        return started

    def typed(self, result: StepResult, type: Any) -> StepResult:
        """Return a result with its data structured into *type*."""
        if result.json is None:
            return result
        data = self.codec.decode(result.json.encode(), type, f"result of {result.step_id!r}")
        return attrs.evolve(result, data=data)

    def kinds_at_work(self) -> frozenset[str]:
        """Return the kinds that this Runtime serves while its workers run and not all their slots are blocked."""
        return self.registry.kinds() if not all(crew.is_blocked for crew in self.crews) else frozenset()

    def told(self, events: Sequence[Event], *, work: bool = True) -> None:
        """Tell a command's events and wake who may have work now; inside the program's transaction, after it."""

        joined = self.engine.db.joins_program()

        def tell() -> None:
            self.telemetry.tell(self._kept(events) if joined else events)
            self.wakeups.tell(events, surely=not joined)
            if work:
                self.wakeups.work()

        self.engine.db.after_commit(tell)

    def _kept(self, events: Sequence[Event]) -> Sequence[Event]:
        # The program may have taken some of it back to a savepoint of its own, and committed the rest.
        with suppress(FlowkitError), self.engine.db.outside() as tx:
            return [event for event in events if self.engine.history.has(tx, event)]
        return events

    def record(self) -> None:
        """Write what is registered into the store's catalog, if that is news."""
        self.recording.record()
        self.wakeups.work()

    def announcement(self, crew: Crew) -> Announcement:
        """Make what tells the store that this process runs a worker with this crew."""
        return Announcement(self.engine, crew, self.settings.worker_id, self.registry.kinds, self.telemetry)

    def live(self) -> list[WorkerInfo]:
        """Return the live workers of the store."""
        with self.engine.db.outside() as tx:
            workers = self.engine.workers.all(tx)
        return live_workers(workers, self.clock.now())

    def close(self) -> None:
        """Close everything; idempotent."""
        if self._closed:
            return
        self._closed = True
        for crew in [*self.crews, *self._abandoned]:
            crew.close()
        self.remote.close()
        self.keeper.close()
        self.threads.close()
        if self.projections is not None:
            self.projections.close()
        self.engine.db.close()
        # Last, so that whoever still waits wakes up to find it closed.
        self.wakeups.close()
