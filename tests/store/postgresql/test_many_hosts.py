"""Workers, operators and programs of many hosts in one store at once: nobody waits in a circle, every limit holds."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest

from flowkit import RunBuilder, Runtime, StepHandle, executor, package
from flowkit.clock import SystemClock, micros
from flowkit.errors import FlowkitError, StoreError
from flowkit.model.limits import QueueConfig, RateLimit
from flowkit.model.outcome import Outcome
from flowkit.model.step import LeasedStep, Settlement
from flowkit.scheduler.cycle import Cycle
from flowkit.scheduler.search import Demand
from flowkit.store.check import check, install_guard
from flowkit.store.engine import Engine
from tests.places import Place, open_engine
from tests.store.flow import Flow, again, failure, plan, record, step, success
from tests.store.story import steps_of

T = TypeVar("T")

KINDS = ("a", "b", "c")
LIMITS = {"one": QueueConfig(max_workers=1), "rate": QueueConfig(rate_limit=RateLimit(50, 5))}


class Host(Flow):
    """A process of its own as far as the store can tell: it shares nothing with the others, and has the true time."""

    def __init__(self, engine: Engine, number: int) -> None:
        super().__init__(engine, SystemClock())  # type: ignore[arg-type]
        self.number = number
        self.random = random.Random(number)
        self.got: list[LeasedStep] = []

    def work(self, turns: int) -> None:
        """Lease and settle, extend now and then, and forget a lease as a killed worker does."""
        ids = itertools.count()
        cycle = Cycle(self.engine, f"worker-{self.number}", micros(1), lambda: f"{self.number}-{next(ids)}")
        held: list[LeasedStep] = []
        for _ in range(turns):
            done = [leased for leased in held if self.random.random() < 0.5]
            inbox = [Settlement(leased, self.outcome(leased), self.engine.db.clock.now()) for leased in done]
            slots = self.random.choice((0, 1, 4, 16))
            held = [one for one in held if one not in done and self.random.random() < 0.98]
            held += cycle.turn(inbox, Demand(slots, KINDS)).leased
            cycle.owed.launched()
            if held and self.random.random() < 0.3:
                with self.engine.write() as tx:
                    self.engine.leases.extend(tx, held, micros(1), tx.now())

    def outcome(self, leased: LeasedStep) -> Outcome:
        """Draw how an attempt ends; some emit a step of a kind that has no lane yet."""
        drawn = self.random.random()
        if drawn < 0.1:
            return failure()
        if drawn < 0.3:
            return again(seconds=0.01)
        if drawn < 0.5 and len(leased.id) < 10:
            child = step(f"{leased.id}.{leased.lease.epoch}", self.random.choice(KINDS), queue=f"new-{drawn:.1g}")
            return success(emission=plan(child))
        return success({"done": True}, records=(record("done", leased.id, {}),))

    def start_runs(self, count: int) -> None:
        """Start runs of steps that a last one waits for, in queues with limits and without."""
        for number in range(count):
            width = self.random.randint(2, 8)
            steps = [
                step(f"s{i}", self.random.choice(KINDS), queue=self.random.choice(("default", "default", *LIMITS)))
                for i in range(width)
            ]
            waits = {"end": [id for one in steps for id in one.ids]}
            self.start(plan(*steps, step("end", "a"), after=waits), run_id=f"run-{self.number}-{number}")

    def operate(self, hosts: int, runs: int, commands: int) -> None:
        """Cancel, retry, fence, prune and resume at random."""
        for _ in range(commands):
            run = f"run-{self.random.randrange(hosts)}-{self.random.randrange(runs)}"
            call = self.random.choice(
                (
                    partial(self.cancel, run),
                    partial(self.retry_run, run),
                    partial(self.retry_step, run, "s0", force=True),
                    self.prune,
                    self.resume,
                )
            )
            try:
                call()
            except StoreError:
                raise
            except FlowkitError:
                pass  # no such run yet, or not now

    def settle_when(self, ready: threading.Barrier, leased: LeasedStep) -> None:
        """Settle together with another host."""
        ready.wait()
        self.settle(leased, success())

    def ask_when(self, ready: threading.Barrier) -> None:
        """Lease together with other hosts."""
        ready.wait()
        self.got = self.lease(4, kinds=["a"], worker=f"worker-{self.number}")

    def prune(self) -> None:
        with self.engine.write() as tx:
            self.engine.pruning.prune(tx, older_than=tx.now(), limit=2)

    def resume(self) -> None:
        with self.engine.write() as tx:
            self.engine.queues.pause(tx, "one", paused=False)


@pytest.fixture
def hosts(place: Place) -> Iterator[list[Host]]:
    opened = [Host(open_engine(place, SystemClock()), number) for number in range(4)]
    with opened[0].engine.write() as tx:
        install_guard(tx)
        for name, config in LIMITS.items():
            opened[0].engine.queues.configure(tx, name, config, by="test", now=tx.now())
    yield opened
    for host in opened:
        host.engine.db.close()


def at_once(*calls: Callable[[], T]) -> list[T]:
    """Make the calls in threads of their own, return what they return, and raise what any of them raised."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [made.result() for made in [pool.submit(call) for call in calls]]


@executor("single/echo")
def echo(input: str) -> str:
    return input


@package("single")
def single(run: RunBuilder, input: str) -> StepHandle[str]:
    return run.step("root", echo, input)


def test_all_of_it_at_once_neither_locks_up_nor_breaks_an_invariant(hosts: list[Host]) -> None:
    """A deadlock, which the server resolves by an error, would raise here."""
    at_once(
        *(partial(host.start_runs, 15) for host in hosts[:2]),
        *(partial(host.work, 50) for host in hosts),
        *(partial(host.operate, 2, 15, 40) for host in hosts[2:]),
    )

    with hosts[0].engine.read() as tx:
        assert check(tx, limits=LIMITS) == []


def test_the_last_two_members_of_a_group_settled_at_once_promote_what_waits_for_them(hosts: list[Host]) -> None:
    """Neither has seen the other one's end when it begins, so the second has to count on from what the first left."""
    for number in range(10):
        run = f"group-{number}"
        hosts[0].start(plan(step("x", "a"), step("y", "a"), step("end", "b"), after={"end": ["x", "y"]}), run_id=run)
        leased = [host.lease_one(kinds=["a"]) for host in hosts[:2]]
        ready = threading.Barrier(2)

        at_once(*(partial(host.settle_when, ready, one) for host, one in zip(hosts, leased)))

        assert steps_of(hosts[0], run)["end"] == "ready"
        hosts[0].do(kinds=["b"])


def test_a_limit_of_one_admits_one_however_many_ask_at_once(hosts: list[Host]) -> None:
    hosts[0].start(*(step(f"s{n}", "a", queue="one") for n in range(8)))
    for _ in range(8):
        ready = threading.Barrier(len(hosts))
        at_once(*(partial(host.ask_when, ready) for host in hosts))

        winners = [host for host in hosts if host.got]
        if not winners:  # each had left it to another one
            hosts[0].ask_when(threading.Barrier(1))
            winners = [hosts[0]]
        assert [len(host.got) for host in winners] == [1]
        winners[0].settle(winners[0].got[0], success())
        winners[0].got = []


def test_one_of_many_starts_of_one_run_makes_it(place: Place) -> None:
    def start(rt: Runtime, ready: threading.Barrier, run_id: str) -> bool:
        ready.wait()
        return rt.start_run(single, "hello", run_id=run_id).created

    runtimes = [Runtime(place.store(), modules=[__name__]) for _ in range(4)]
    for number in range(10):
        ready = threading.Barrier(len(runtimes))
        made = at_once(*(partial(start, rt, ready, f"run-{number}") for rt in runtimes))
        assert sorted(made) == [False, False, False, True]
    for rt in runtimes:
        rt.close()


def test_a_program_that_leaves_its_transaction_open_holds_up_nobody_elses_start(place: Place) -> None:
    program = place.program()
    with Runtime(place.joined(program), modules=[__name__]) as rt, Runtime(place.store(), modules=[__name__]) as other:
        with program.connection_context(), program.atomic():
            rt.start_run(single, "first")
            assert at_once(lambda: other.run(single, "second").result()) == ["second"]
        assert len(rt.runs(status="pending").items) == 1


def test_a_program_that_leaves_a_start_with_a_delay_open_holds_up_no_worker(place: Place) -> None:
    @package("later")
    def later(run: RunBuilder) -> None:
        run.step("it", echo, "hello", delay=3600)

    program = place.program()
    with Runtime(place.joined(program), modules=[__name__]) as rt, Runtime(place.store(), modules=[__name__]) as other:
        rt.register_package(later)
        with program.connection_context(), program.atomic():
            rt.start_run("later")
            # Its worker keeps the time, of which the start has left a mark.
            assert at_once(lambda: other.run(single, "second").result()) == ["second"]


def test_once_a_queue_is_paused_no_step_of_it_starts_though_a_worker_had_looked_before(hosts: list[Host]) -> None:
    hosts[0].start(step("s", "a"))
    looked, paused = threading.Event(), threading.Event()

    def lease() -> list[str]:
        with hosts[0].engine.write() as tx:
            seen = hosts[0].engine.lanes.glance(tx, KINDS)
            looked.set()
            paused.wait(0.2)  # it is not, for who pauses waits for this transaction
            done.append("leased" if [queue for queue in seen.queues.values() if not queue.paused] else "refused")
        return done

    def pause() -> None:
        looked.wait()
        with hosts[1].engine.write() as tx:
            hosts[1].engine.queues.pause(tx, "default", paused=True)
        paused.set()
        done.append("paused")

    done: list[str] = []
    at_once(lease, pause)
    assert done == ["leased", "paused"]
    assert hosts[2].lease(kinds=["a"]) == []
