"""Whatever workers, operators and clocks do, in whatever order: after every commit every invariant holds."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from flowkit.clock import SECOND, micros
from flowkit.errors import InvalidTransition
from flowkit.model.outcome import Outcome, Released
from flowkit.model.plan import Edge, Plan, StepSpec
from flowkit.model.retry import Retry
from flowkit.model.step import LeasedStep, Settlement
from flowkit.store.check import check, install_guard
from flowkit.store.closing import Verdict
from flowkit.store.engine import Engine
from tests.places import Lend, open_engine
from tests.store.clock import FakeClock
from tests.store.flow import LEASE_SECONDS, Flow, again, artifact, failure, record, step, success

SEEDS = 120
MOVES = 45
PER_TEST = 20
SEEDS_OF = {"sqlite": PER_TEST, "postgresql": 3}
"""How many of them are tried on each kind of database: a server takes its time to answer all that is checked."""


class World:
    """A store in which a seeded random choice decides who does what next."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = FakeClock()
        engine.db.clock = self.clock
        self.engine = engine
        self.flow = Flow(engine, self.clock)
        self.runs: list[str] = []
        self.held: list[LeasedStep] = []
        self.told: list[str] = []
        self._seed = seed
        self._names = 0

    def new_plan(self, stored: Sequence[str] = ()) -> Plan:
        """Lay out a few steps, edges and gates at random; what waits comes after what it waits for."""
        draw = self.random
        steps = [self._new_step() for _ in range(draw.randint(1, 6))]
        edges = []
        for waiter in range(1, len(steps)):
            for _ in range(draw.choice((0, 0, 1, 1, 2))):
                edges.append(Edge(waiter, self._target(waiter, stored), draw.random() < 0.7))
        gates = []
        for cut in [draw.randint(1, len(steps)) for _ in range(draw.choice((0, 0, 1, 2)))]:
            if cut == len(steps):
                continue
            gate = len(steps) + len(gates)
            gates.append(f"gate {gate}")
            edges += [Edge(gate, self._target(cut, stored)) for _ in range(draw.randint(1, 4))]
            waiters = draw.sample(range(cut, len(steps)), draw.randint(1, len(steps) - cut))
            edges += [Edge(waiter, gate, draw.random() < 0.6) for waiter in waiters]
        return Plan(tuple(steps), tuple(gates), tuple(edges))

    def _target(self, below: int, stored: Sequence[str]) -> int | str:
        return self.random.choice(stored) if stored and self.random.random() < 0.3 else self.random.randrange(below)

    def _new_step(self) -> StepSpec:
        draw = self.random
        self._names += 1
        return step(
            f"s{self._names}",
            kind=draw.choice(("fetch", "parse")),
            retry=Retry(draw.choice((1, 2, 2, 3)), backoff="fixed", initial=draw.choice((0, 20)), maximum=20),
            delay=micros(draw.choice((0, 0, 0, 5))),
            allow_failure=draw.random() < 0.2,
            priority=draw.choice((0, 0, 1)),
        )

    def start(self) -> None:
        """Start a run."""
        self.runs.append(self.flow.start(self.new_plan(), run_id=f"run {self._seed}.{len(self.runs)}"))

    def lease(self) -> None:
        """Let one of two workers lease a few steps."""
        worker = self.random.choice(("ann", "bob"))
        self.held += self.flow.lease(self.random.randint(1, 4), worker=worker)

    def settle(self) -> None:
        """Settle some of what was leased, whether the lease still holds or not, perhaps twice."""
        inbox = [self._settlement(one) for one in self.random.sample(self.held, min(len(self.held), 3))]
        if inbox and self.random.random() < 0.2:
            inbox.append(inbox[0])
        owned = self._owned()
        verdicts = self.flow.turn(inbox, slots=self.random.choice((0, 0, 2)), worker="ann")
        self.held += verdicts.leased
        for settlement, verdict in zip(inbox, verdicts.verdicts):
            token = settlement.leased.lease.token, settlement.leased.key
            assert (verdict is Verdict.SETTLED) == (token in owned)
            owned.discard(token)

    def _owned(self) -> set[tuple[str, int]]:
        with self.engine.read() as tx:
            return {(token, key) for token, key in tx.script("SELECT token, key FROM steps WHERE status = 'running'")}

    def _settlement(self, leased: LeasedStep) -> Settlement:
        return Settlement(leased, self._outcome(leased), self.clock.now())

    def _outcome(self, leased: LeasedStep) -> Outcome:
        roll = self.random.random()
        if roll < 0.15:
            return failure()
        if roll < 0.3:
            return again(seconds=self.random.choice((0, 10)))
        if roll < 0.36:
            return Released()
        emission = self._emission(leased) if roll < 0.6 and self._names < 60 else None
        records = (record("pages", "k", roll),) if roll > 0.9 else ()
        files = (artifact(self.random.choice("xyz"), b"bytes"),) if roll > 0.97 else ()
        return success({"roll": roll}, emission=emission, records=records, artifacts=files)

    def _emission(self, leased: LeasedStep) -> Plan:
        stored = self._step_ids(leased.run_id)
        plan = self.new_plan(stored)
        if self.random.random() < 0.15:
            twin = step(self.random.choice(stored), kind="fetch")
            return Plan((*plan.specs[:-1], twin), plan.gates, plan.edges)
        if self.random.random() < 0.3:
            shared = step(f"d{self._names}", dedup_key=self.random.choice("pq"), kind="fetch")
            place = self.random.randrange(len(plan.specs))
            return Plan((*plan.specs[:place], shared, *plan.specs[place + 1 :]), plan.gates, plan.edges)
        return plan

    def _step_ids(self, run_id: str) -> list[str]:
        with self.engine.read() as tx:
            return [row[0] for row in tx.script("SELECT id FROM steps WHERE run = ?", (self.flow.key(run_id),))]

    def _dead_ids(self, run_id: str) -> list[str]:
        if self.random.random() < 0.3:
            return []
        with self.engine.read() as tx:
            dead = "SELECT id FROM steps WHERE run = ? AND status IN ('failed', 'canceled')"
            return [row[0] for row in tx.script(dead, (self.flow.key(run_id),))]

    def wait(self) -> None:
        """Let time pass, or set the clock back."""
        if self.random.random() < 0.1:
            self.clock.set(self.clock.now() - self.random.choice((1, 20, 3600)) * SECOND)
        else:
            self.clock.advance(self.random.choice((1, 6, 12, LEASE_SECONDS + 1)))

    def extend(self) -> None:
        """Extend all leases that somebody thinks to hold."""
        with self.engine.write() as tx:
            self.engine.leases.extend(tx, self.held, micros(LEASE_SECONDS), tx.now())

    def operate(self) -> None:
        """Cancel or retry something; what does not apply is refused."""
        run_id = self.random.choice(self.runs)
        step_id = self.random.choice(self._dead_ids(run_id) or self._step_ids(run_id))
        commands = [
            lambda: self.flow.retry_step(run_id, step_id),
            lambda: self.flow.retry_step(run_id, step_id),
            lambda: self.flow.retry_step(run_id, step_id, force=True),
            lambda: self.flow.retry_run(run_id),
            lambda: self.flow.cancel(run_id),
        ]
        try:
            self.random.choice(commands)()
        except InvalidTransition as refused:
            self.told.append(str(refused))

    def finish(self) -> None:
        """Let everything end: workers go on until nothing is left to do."""
        for _ in range(200):
            self.flow.finish()
            if not self._open_runs():
                return
            self.clock.advance(LEASE_SECONDS + 1)

    def _open_runs(self) -> list[Any]:
        with self.engine.read() as tx:
            return tx.script("SELECT id, status FROM runs WHERE ended_at IS NULL")


@pytest.fixture(scope="module")
def engine(lend: Lend) -> Iterator[Engine]:
    with lend() as place:
        opened = open_engine(place, FakeClock())
        with opened.write() as tx:
            install_guard(tx)
        yield opened
        opened.db.close()


def forget(engine: Engine) -> None:
    """Empty the store."""
    with engine.write() as tx:
        for table in engine.tables.all():
            name = table._meta.table_name
            if name not in ("meta", "lanes"):
                tx.script(f"DELETE FROM {name}")
        tx.script("UPDATE meta SET number = 0 WHERE key = 'clock_high'")


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_every_invariant_holds_after_every_commit_and_every_run_ends(
    engine: Engine, database: str, first: int
) -> None:
    for seed in range(first, first + SEEDS_OF[database]):
        forget(engine)
        world = World(engine, seed)
        world.start()
        moves = [world.lease] * 5 + [world.settle] * 6 + [world.wait] * 2 + [world.operate] * 2
        moves += [world.extend, world.start]
        for _ in range(MOVES):
            world.random.choice(moves)()
            with engine.read() as tx:
                assert check(tx) == [], f"seed {seed}"
        world.finish()
        with engine.read() as tx:
            assert check(tx) == [], f"seed {seed}"
        assert world._open_runs() == [], f"seed {seed}"
