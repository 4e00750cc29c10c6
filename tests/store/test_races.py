"""Races, decided: what wins when completions, reclaims, cancels and retries of one step meet."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from flowkit.clock import SECOND
from flowkit.errors import InvalidTransition
from flowkit.model.outcome import Released
from flowkit.model.states import RunStatus
from flowkit.model.step import LeasedStep, Settlement
from flowkit.scheduler.search import Demand
from flowkit.store.closing import Verdict
from flowkit.store.engine import Engine
from flowkit.store.views_results import StoredValue
from tests.places import Place
from tests.store.flow import LEASE_SECONDS, Flow, failure, plan, record, step, success
from tests.store.story import (
    attempts_of,
    group,
    guarded,
    result_of,
    status_of,
    steps_of,
)


@pytest.fixture(autouse=True)
def sound(engine: Engine) -> Iterator[None]:
    with guarded(engine):
        yield


# A completion and the end of its lease


def test_a_completion_after_expiry_is_accepted_while_nobody_took_the_step_back(flow: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()
    flow.clock.advance(10 * LEASE_SECONDS)

    assert flow.settle(leased, success()) is Verdict.SETTLED

    assert steps_of(flow, run) == {"a": "succeeded"}


def test_a_completion_and_a_reclaim_in_one_cycle_end_as_a_completion(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    first, _ = flow.lease()
    flow.clock.advance(LEASE_SECONDS + 1)

    turned = flow.turn([Settlement(first, success(), flow.clock.now())], slots=0)

    assert turned.verdicts == [Verdict.SETTLED]
    assert steps_of(flow, run) == {"a": "succeeded", "b": "ready"}


@pytest.mark.parametrize("leased_again", [False, True])
def test_a_completion_after_the_reclaim_is_lost(flow: Flow, other: Flow, leased_again: bool) -> None:
    run = flow.start(step("a"))
    slow = flow.lease_one(worker="slow")
    flow.clock.advance(LEASE_SECONDS)
    other.turn(slots=0, worker="quick")
    flow.clock.advance(5)
    quick = other.lease_one(worker="quick") if leased_again else None

    outcome = success({"pages": 1}, records=(record("pages", "1", {}),), emission=plan(step("child")))
    assert flow.settle(slow, outcome) is Verdict.LOST

    assert steps_of(flow, run) == {"a": "running" if quick else "ready"}
    assert attempts_of(flow, run, "a") == [(0, 1, "lost")]
    if quick:
        assert other.settle(quick, success({"pages": 2})) is Verdict.SETTLED
        assert result_of(flow, run, "a") == b'{"pages": 2}'


def leased_twice(flow: Flow) -> list[LeasedStep]:
    """Let a worker lose the lease of a step and get the step again, and return both of its attempts."""
    late = flow.lease_one()
    flow.clock.advance(LEASE_SECONDS)
    flow.turn(slots=0)
    flow.clock.advance(5)
    return [late, flow.lease_one()]


@pytest.mark.parametrize("order", [1, -1], ids=["late-first", "late-last"])
def test_an_outcome_that_is_settled_together_with_one_that_is_late_is_not_lost_with_it(flow: Flow, order: int) -> None:
    run = flow.start(step("a"))
    attempts = leased_twice(flow)[::order]

    outcomes = [Settlement(one, success({"attempt": one.attempt}), flow.clock.now()) for one in attempts]
    turned = flow.turn(outcomes, slots=0)

    assert turned.verdicts[::order] == [Verdict.LOST, Verdict.SETTLED]
    assert result_of(flow, run, "a") == b'{"attempt": 2}'
    # Whoever waits for the run is told what is stored, and not what came too late.
    assert turned.result_of(run, "a") == StoredValue("work", b'{"attempt": 2}')
    assert turned.result_of(run, "b") is turned.result_of("another", "a") is None


@pytest.mark.parametrize("order", [1, -1], ids=["late-first", "late-last"])
def test_a_lease_that_is_extended_together_with_one_that_was_lost_goes_on(flow: Flow, order: int) -> None:
    flow.start(step("a"))
    late, held = leased_twice(flow)

    with flow.engine.write() as tx:
        kept = flow.engine.leases.extend(tx, [late, held][::order], LEASE_SECONDS * SECOND, tx.now())

    assert kept == {(held.key, held.lease.epoch): "running"}


def test_an_extension_and_the_sweeper_agree_on_who_has_the_step(flow: Flow, other: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one(worker="ann")
    flow.clock.advance(LEASE_SECONDS)
    with flow.engine.write() as tx:
        flow.engine.leases.extend(tx, [leased], LEASE_SECONDS * 1_000_000, tx.now())

    other.turn(slots=0, worker="bob")

    assert steps_of(flow, run) == {"a": "running"}
    assert attempts_of(flow, run, "a") == []


def test_an_expired_lease_is_taken_back_once_however_many_processes_sweep(flow: Flow, other: Flow) -> None:
    run = flow.start(step("a"))
    flow.lease_one(worker="ann")
    flow.clock.advance(LEASE_SECONDS)

    flow.turn(slots=0, worker="bob")
    other.turn(slots=0, worker="eve")

    assert attempts_of(flow, run, "a") == [(0, 1, "lost")]


def test_a_worker_does_not_spin_on_a_lease_that_expires_between_two_sweeps(flow: Flow) -> None:
    flow.start(step("a"))
    flow.lease_one(worker="ann")
    flow.clock.advance(LEASE_SECONDS - 0.5)
    flow.turn(slots=0, worker="bob")
    flow.clock.advance(0.5)

    due, wake_at, _ = flow.cycle("bob").look(Demand(1, ["work"]))

    assert (due, wake_at) == (False, flow.clock.now() + SECOND // 2)
    flow.clock.advance(0.5)
    assert flow.cycle("bob").look(Demand(1, ["work"]))[0]


def test_a_worker_with_no_slot_free_does_not_spin_on_a_step_that_has_come_due(flow: Flow) -> None:
    flow.start(step("a", delay=SECOND))
    flow.clock.advance(2)
    full, free = Demand(0, ["work"]), Demand(1, ["work"])
    flow.turn(slots=0, worker="bob")

    assert flow.cycle("bob").look(full)[0] is False
    assert flow.cycle("bob").look(free)[0] is True
    assert [leased.id for leased in flow.lease(1)] == ["a"]


# The same outcome, offered twice


def test_an_outcome_whose_acknowledgement_was_lost_can_be_repeated(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    leased = flow.lease_one()
    outcome = success({"pages": 1}, records=(record("pages", "1", {}),), emission=plan(step("child")))

    assert flow.settle(leased, outcome) is Verdict.SETTLED
    assert flow.settle(leased, outcome) is Verdict.ALREADY_COMMITTED

    assert steps_of(flow, run) == {"a": "succeeded", "b": "ready", "child": "ready"}


@pytest.mark.parametrize("outcome", [failure(), Released()], ids=lambda o: type(o).__name__)
def test_a_repeated_failure_or_release_is_known_too(flow: Flow, outcome: object) -> None:
    flow.start(step("a"))
    leased = flow.lease_one()

    flow.settle(leased, outcome)  # type: ignore[arg-type]

    assert flow.settle(leased, outcome) is Verdict.ALREADY_COMMITTED  # type: ignore[arg-type]


def test_an_outcome_that_is_twice_in_one_batch_is_written_once(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    first, second = flow.lease()
    twice = Settlement(first, success(emission=plan(step("child"))), flow.clock.now())

    turned = flow.turn([Settlement(second, failure(), flow.clock.now()), twice, twice], slots=0)

    assert turned.verdicts == [Verdict.SETTLED, Verdict.SETTLED, Verdict.ALREADY_COMMITTED]
    assert steps_of(flow, run) == {"a": "succeeded", "b": "failed", "child": "ready"}


def test_a_different_result_of_one_attempt_is_refused_and_told(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    leased = flow.lease(1)[0]
    flow.settle(leased, success({"pages": 1}))

    assert flow.settle(leased, success({"pages": 2})) is Verdict.LOST

    assert result_of(flow, run, "a") == b'{"pages": 1}'
    assert [(e.run_id, e.step_id) for e in flow.events if e.name == "attempt_divergence"] == [(run, "a")]


def test_a_success_that_comes_after_its_own_failure_is_lost(flow: Flow) -> None:
    flow.start(step("a"))
    leased = flow.do(failure("timeout"))

    assert flow.settle(leased, success()) is Verdict.LOST


# Cancel and completion


def test_a_completion_after_the_cancel_is_discarded(flow: Flow, other: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    leased = flow.lease_one()
    other.cancel(run)

    flow.settle(leased, success(1, records=(record("pages", "1", {}),), emission=plan(step("child"))))

    assert steps_of(flow, run) == {"a": "canceled (run)", "b": "canceled (run)"}
    assert status_of(flow, run) is RunStatus.CANCELED
    assert flow.settle(leased, success(1)) is Verdict.ALREADY_COMMITTED


def test_a_cancel_after_the_completion_leaves_the_step_succeeded(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    flow.do()

    flow.cancel(run)

    assert steps_of(flow, run) == {"a": "succeeded", "b": "canceled (run)"}
    assert status_of(flow, run) is RunStatus.CANCELED


@pytest.mark.parametrize(("outcome", "status"), [(success(), "succeeded"), (failure(), "failed")])
def test_a_cancel_after_the_last_completion_is_too_late(flow: Flow, outcome: object, status: str) -> None:
    run = flow.start(step("a"))
    flow.do(outcome)  # type: ignore[arg-type]

    with pytest.raises(InvalidTransition, match=f"too late: {status}") as refused:
        flow.cancel(run)
    assert refused.value.status == status


def test_canceling_a_run_again_does_nothing(flow: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()
    flow.cancel(run)

    assert flow.cancel(run) == []
    flow.settle(leased, success())
    assert flow.cancel(run) == []


def test_nothing_is_leased_in_a_canceled_run(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    flow.lease(1)
    flow.cancel(run)

    assert flow.lease() == []


def test_a_lease_that_expires_in_a_run_that_is_being_canceled_ends_it(flow: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one(worker="ann")
    flow.cancel(run)
    flow.clock.advance(LEASE_SECONDS)

    flow.turn(slots=0, worker="bob")

    assert steps_of(flow, run) == {"a": "canceled (run)"}
    assert attempts_of(flow, run, "a") == [(0, 1, "discarded")]
    assert status_of(flow, run) is RunStatus.CANCELED
    assert flow.settle(leased, success()) is not Verdict.SETTLED


def test_an_outcome_is_settled_in_a_transaction_that_is_open_already(flow: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()
    with flow.engine.write():
        turned = flow.turn([Settlement(leased, success(1), flow.clock.now())], slots=0)
    assert turned.verdicts == [Verdict.SETTLED]
    assert result_of(flow, run, "a") == b"1"


def test_outcomes_that_are_settled_one_by_one_lose_no_lease_to_the_worker_that_holds_them(
    flow: Flow, place: Place
) -> None:
    run = flow.start(step("bad"), step("late"))
    bad, late = flow.lease(2)
    flow.clock.advance(LEASE_SECONDS + 1)
    with flow.engine.write() as tx:
        for sql in place.refuse("results", f"NEW.step = {bad.key}"):
            tx.script(sql)

    turned = flow.turn([Settlement(one, success(1), flow.clock.now()) for one in (bad, late)])

    assert turned.verdicts == [Verdict.SETTLED, Verdict.SETTLED]
    assert steps_of(flow, run) == {"bad": "failed", "late": "succeeded"}
    assert turned.result_of(run, "bad") is None
    assert turned.result_of(run, "late") == StoredValue("work", b"1")


# Workers among themselves


def test_two_workers_never_get_one_step(flow: Flow, other: Flow) -> None:
    flow.start(*[step(f"page[{n}]") for n in range(10)])

    got = [leased.id for _ in range(5) for worker in (flow, other) for leased in worker.lease(1)]

    assert len(got) == len(set(got)) == 10


def test_workers_that_write_at_the_same_time_attempt_each_step_once(flow: Flow, other: Flow) -> None:
    run = flow.start(group([f"a[{n}]" for n in range(60)], [f"b[{n}]" for n in range(60)]))
    done: list[str] = []

    def work(worker: Flow) -> None:
        while status_of(worker, run) is not RunStatus.SUCCEEDED:
            leased = worker.lease(5)
            inbox = [Settlement(one, success(), worker.clock.now()) for one in leased]
            assert worker.turn(inbox, slots=0).verdicts == [Verdict.SETTLED] * len(inbox)
            done.extend(one.id for one in leased)

    with ThreadPoolExecutor() as threads:
        list(threads.map(work, (flow, other)))

    assert len(done) == len(set(done)) == 120


def test_an_attempt_of_a_run_that_is_gone_is_lost(flow: Flow) -> None:
    run = flow.start(step("a"))
    fenced = flow.lease_one()
    flow.retry_step(run, "a", force=True)
    flow.finish()
    with flow.engine.write() as tx:
        tx.script("DELETE FROM history")
        tx.script("DELETE FROM runs")
    assert flow.settle(fenced, success()) is Verdict.LOST

    flow.start(step("a"), run_id="next")
    flow.finish()
    assert flow.settle(fenced, success()) is Verdict.LOST
