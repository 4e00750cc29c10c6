"""A host: a clock, and one process after another that runs the real Runtime's parts, a step of its life at a time."""

from __future__ import annotations

import copy
import json
import random
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from flowkit import Runtime
from flowkit.clock import SECOND, Micros, micros
from flowkit.errors import StoreError
from flowkit.model.step import Settlement
from flowkit.runtime.attempt import run_attempt, settlement
from flowkit.runtime.attempts import Attempt
from flowkit.runtime.crew import Crew
from flowkit.runtime.keeper import Keeper
from flowkit.runtime.worker import Worker
from flowkit.scheduler.cycle import Cycle
from flowkit.scheduler.search import Demand
from flowkit.scheduler.turned import Turned
from flowkit.store.lanes import Known
from tests.simulation import app
from tests.simulation.clocks import HostClock
from tests.simulation.files import FrailFiles
from tests.simulation.story import KINDS
from tests.simulation.wire import Crashed, SimStore

if TYPE_CHECKING:
    from tests.simulation.stage import Stage
    from tests.simulation.world import Life, World

LEASE = 30.0


class SeededIds:
    """Tokens and run ids that a seed decides."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def token(self) -> str:
        return f"{self._host.draw.getrandbits(128):032x}"

    def uuid7(self, now: int) -> str:
        return f"{self._host.draw.getrandbits(64):016x}"


class SteppedKeeper(Keeper):
    """The keeper without its thread: the world calls it."""

    def __init__(self, host: Host, *args: Any) -> None:
        super().__init__(*args)
        self._host = host

    def _start(self) -> None:
        pass

    def _distrust(self, held: list[Attempt]) -> None:
        # What the store has written it does not know then.
        self._host.kept = None
        super()._distrust(held)

    def attempts(self) -> list[Attempt]:
        """Return what it keeps."""
        return list(self._attempts.values())

    def step(self) -> float:
        """Do what is due and say in how many seconds there is more."""
        attempts = self.attempts()
        self.look_after(attempts)
        now = self._clock.monotonic()
        times = [self._extend_at, *(a.deadline for a in attempts if a.deadline is not None and not a.settled)]
        return min(max(0.1, min(times) - now), LEASE / 3)


class WatchedCycle(Cycle):
    """The scheduler's cycle; what is offered to it and what it says are told to the judge."""

    def __init__(self, host: Host, *args: Any) -> None:
        super().__init__(*args)
        self._host = host

    def turn(self, inbox: Sequence[Settlement], demand: Demand) -> Turned:
        judge, host = self._host.world.judge, self._host
        host.offering = judge.offered(inbox)
        try:
            turned = super().turn(inbox, demand)
        finally:
            host.offering = frozenset()
        judge.answered(inbox, turned.verdicts)
        return turned


class WorldPool:
    """The pool in which executors of the simulation run: each attempt is a life in the world."""

    def __init__(self, host: Host, run: Any) -> None:
        self._host = host
        self._run = run

    def start(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            self._host.world.spawn(self._host, self._host.live(attempt, self._run), self._host.draw.uniform(0, 0.2))

    def close(self) -> None:
        pass

    def submit(self, *_: Any) -> Any:
        """Look like an executor, which a Runtime's pools are."""
        raise NotImplementedError


class Host:
    """A machine with at most one process of ours at a time; a client's has no worker."""

    def __init__(self, name: str, stage: Stage) -> None:
        self.name = name
        self.clock = HostClock()
        self.incarnation = 0
        self.is_up = True
        self.world: World = _Nowhere()  # type: ignore[assignment]
        self.unreachable_until: Micros = 0
        self.asked: tuple[Any, ...] | None = None
        self.was_done = False
        self.offering: frozenset[Any] = frozenset()
        self.extending: list[Attempt] | None = None
        self.kept: dict[Any, str | None] | None = None
        self.files = FrailFiles(stage.artifacts.root, self)
        pools = {app.POOL: WorldPool(self, None)}
        settings: dict[str, Any] = {"entry_points": False, "worker_id": name, "lease_duration": LEASE, "pools": pools}
        store: Any = SimStore(self, stage.raw)
        self.runtime = Runtime(store, clock=self.clock, artifact_store=self.files, max_workers=4, **settings)
        for function in (app.work, app.newer):
            self.runtime.register_executor(function)
        self.runtime.register_package(app.sim)
        self.parts = self.runtime._parts
        self.parts.ids = SeededIds(self)  # type: ignore[assignment]
        self.parts.starter._ids = self.parts.ids
        self._pristine = _remember(self.parts.engine)
        self.reset(self.world)

    def reset(self, world: World) -> None:
        """Begin a new world."""
        self.world = world
        self.inside = self.boots = 0
        self.paused_until = self.unreachable_until = 0
        self.stops = self.newer_code_only = self.is_older = False
        self.is_up = True
        self._new_process()
        self.worker_id = self.name

    def _new_process(self) -> None:
        self.incarnation += 1
        self.stops = False
        self.asked, self.was_done, self.extending, self.kept = None, False, None, None
        self.offering = frozenset()
        _forget(self._pristine)
        connections = self.parts.engine.db.connections
        connections.lending = connections.lending.after_fork()
        self.parts.looping = None

    @property
    def draw(self) -> random.Random:
        """The stream of randomness of this host."""
        return self.world.choices.of(self.name)

    def reach_store(self) -> None:
        """Pass, or raise what a driver raises where the store cannot be reached."""
        if self.unreachable_until > self.clock.true:
            raise sqlite3.OperationalError("unable to open database file")

    def crash(self, when: str) -> None:
        """Lose the process, wherever it is; another one is started later."""
        if not self.is_up:
            return
        self.is_up = False
        self.incarnation += 1
        self.world.note(self, f"crashes {when}")
        self.world.spawn(self, self.boot(), self.draw.uniform(0.5, 40), waits=False)

    def boot(self) -> Life:
        """Start a process; a worker goes on to work."""
        while self.inside:
            yield 0.05  # what is left of the old process in the middle of a statement is gone first
        self._new_process()
        self.is_up = True
        self.boots += 1
        world, draw = self.world, self.draw
        if self is world.stage.client:
            world.client.begin()
            return
        self.is_older = world.faults.has("older") and not self.newer_code_only and draw.random() < 0.4
        self.worker_id = self.name if draw.random() < 0.5 else f"{self.name}.{self.boots}"
        world.faults.injected["older"] += self.is_older
        world.note(self, f"starts as {self.worker_id}{' with older code' if self.is_older else ''}")
        world.spawn(self, self.work())
        yield from ()

    def _worker(self) -> tuple[Worker, WatchedCycle, SteppedKeeper]:
        parts = self.parts
        point = lambda name: None  # noqa: E731
        keeper = SteppedKeeper(self, parts.engine, self.clock, LEASE, point)
        pools: Any = lambda name, run: WorldPool(self, run)  # noqa: E731
        crew = Crew(parts.registry, parts.services, keeper, self.clock, self.draw.choice((1, 2, 4)), pools)
        cycle = WatchedCycle(self, parts.engine, self.worker_id, micros(LEASE), parts.ids.token)
        kinds = frozenset(KINDS[:1] if self.is_older else KINDS)
        return Worker(crew, cycle, lambda: kinds, parts.telemetry, parts.wakeups, point), cycle, keeper

    def work(self) -> Life:
        """Live a worker's life: configure the queues, then cycle until told to stop, or until death."""
        world, draw = self.world, self.draw
        yield from self._configure()
        worker, cycle, keeper = self._worker()
        # While it rests, a start in this process leases its own first steps.
        self.parts.looping = worker
        self.crew = worker.crew
        world.spawn(self, self._keep(keeper), draw.uniform(0, 1))
        while not self.stops:
            try:
                yield from self._pass(worker, cycle)
            except StoreError as error:
                world.note(self, f"store: {type(error).__name__}")
                yield draw.uniform(0.05, 5)
        yield from self._finish(worker)

    def _configure(self) -> Life:
        limits = self.world.client.limits
        self.parts.settings = attrs.evolve(self.parts.settings, queues=limits, worker_id=self.worker_id)
        while True:
            try:
                self.parts.recording.limit()
                return
            except StoreError:
                yield self.draw.uniform(0.1, 3)

    def _pass(self, worker: Worker, cycle: WatchedCycle) -> Life:
        crew, draw = worker.crew, self.draw
        if not crew.has_mail and not worker._kept and draw.random() < 0.8:
            due, at, _ = cycle.look(Demand(crew.free, worker._kinds()))
            if not due:
                yield from self._rest(worker, at)
                return
        turned = worker.turn()
        worker.launch(turned)
        yield draw.choice((0, 0.01, 0.25))
        if not turned.leased and not turned.verdicts:
            yield from self._rest(worker, None)

    def _rest(self, worker: Worker, until: Micros | None) -> Life:
        # A worker is woken by what ends; here it looks for mail often, and at the store seldom.
        crew, left = worker.crew, self.draw.uniform(0.3, 6)
        if until is not None:
            left = min(left, max(0.0, (until - self.clock.now()) / SECOND))
        while left > 0 and not crew.has_mail and not self.stops:
            nap = min(left, 0.5)
            with worker.baton.resting(self.clock.now() + micros(nap)):
                yield nap
            left -= nap
        yield 0.001

    def _finish(self, worker: Worker) -> Life:
        self.world.note(self, "stops")
        self.parts.looping = None
        grace = self.draw.choice((0, 5, 30))
        crew = worker.crew
        while crew.in_flight > len(crew.hung) or crew.has_mail or worker._kept:
            if grace <= 0:
                crew.give_up()
            try:
                if crew.has_mail or worker._kept:
                    worker.turn(0)
            except StoreError:
                if grace <= -20:
                    break
            yield 1.0
            grace -= 1
        self.world.note(self, "has stopped")
        self.is_up = False
        self.incarnation += 1
        self.world.spawn(self, self.boot(), self.draw.uniform(0.5, 20), waits=False)

    def _keep(self, keeper: SteppedKeeper) -> Life:
        while True:
            held = keeper.attempts()
            self.extending, self.kept = held, None
            pause = keeper.step()
            self.extending = None
            if self.kept is not None:
                self.world.judge.kept(held, self.kept)
            yield pause + self.draw.choice((0, 0, 0.3, 2))

    def live(self, attempt: Attempt, run: Any) -> Life:
        """Run one attempt: call the executor, let its time pass, hand over what came of it."""
        leased, draw = attempt.leased, self.draw
        do = json.loads(leased.input)
        run.begin(attempt)
        self.world.judge.starts(leased)
        left = do["seconds"] * draw.uniform(0.8, 1.2)
        while left > 0 and not (attempt.stop_reason and not do.get("deaf")):
            nap = min(left, draw.uniform(0.5, 6))
            yield nap
            left -= nap
        incarnation = self.incarnation
        outcome = run_attempt(attempt, self.parts.services)
        if incarnation != self.incarnation:
            raise Crashed
        self.world.judge.ends(leased, outcome, attempt.stop_reason)
        run.finish(attempt, settlement(attempt, outcome, self.clock.now()))
        yield from ()

    def close(self) -> None:
        """Give everything back."""
        self.is_up, self.world = True, _Nowhere()  # type: ignore[assignment]
        self.incarnation += 1
        self.runtime.close()


class _Nowhere:
    """The world of a host that is not in one: nothing happens there."""

    time = 0
    statements = 0

    def __init__(self) -> None:
        self.faults = self

    def strikes(self, kind: str, chance: float) -> bool:
        return False

    def moment(self, host: Host) -> None:
        pass

    def committed(self, host: Host) -> None:
        pass

    def dies_at(self, boundary: str) -> bool:
        return False


Memory = list[tuple[Any, dict[str, Any]]]


def _remember(engine: Any) -> Memory:
    """Note what each part of an engine knew when it was opened, so that a new process can begin with that."""
    parts = [part for part in vars(engine).values() if _keeps(part)]
    inner = [one for part in parts for one in vars(part).values() if _keeps(one)]
    found: Memory = []
    for part in {id(one): one for one in (*parts, *inner)}.values():
        found.append((part, {name: copy.copy(value) for name, value in vars(part).items() if _is_memory(value)}))
    return found


def _is_memory(value: Any) -> bool:
    """Whether a part keeps what it learns in this: a container, or what stands for several, and is replaced."""
    return isinstance(value, (dict, list, set, Known))


def _keeps(part: Any) -> bool:
    return hasattr(part, "__dict__") and type(part).__module__.startswith("flowkit.store")


def _forget(memory: Memory) -> None:
    """Make every part know what it knew then; compiled statements are code, and stay."""
    for part, known in memory:
        for name, value in known.items():
            setattr(part, name, copy.copy(value))
        for name in [n for n, v in vars(part).items() if _is_memory(v) and n not in known]:
            delattr(part, name)
