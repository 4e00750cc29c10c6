"""Every move that workers make of a step, T1 to T11: what it does, and what its guard refuses."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

from flowkit.clock import SECOND, micros
from flowkit.errors import GraphError
from flowkit.model.outcome import Released
from flowkit.model.plan import Edge, Plan
from flowkit.model.states import RunStatus
from flowkit.model.step import LeasedStep, Settlement
from flowkit.store.closing import Verdict
from flowkit.store.database import Session
from flowkit.store.engine import Engine
from tests.store.flow import LEASE_SECONDS, Flow, again, failure, plan, step, success
from tests.store.story import (
    ONCE,
    TWICE,
    attempts_of,
    column_of,
    error_of,
    guarded,
    once,
    result_of,
    seconds_until,
    status_of,
    steps_of,
)


@pytest.fixture(autouse=True)
def sound(engine: Engine) -> Iterator[None]:
    with guarded(engine):
        yield


# T1: declared


def test_a_step_is_born_ready_unless_it_waits_for_something(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))

    assert steps_of(flow, run) == {"a": "ready", "b": "pending"}
    assert status_of(flow, run) is RunStatus.PENDING


@pytest.mark.parametrize(
    "edges",
    [(Edge(0, 1), Edge(1, 0)), (Edge(0, 0),), (Edge(0, 1), Edge(1, 2), Edge(2, 0))],
    ids=["two", "itself", "three"],
)
def test_steps_that_wait_for_each_other_are_refused_and_leave_nothing(flow: Flow, edges: tuple[Edge, ...]) -> None:
    with pytest.raises(GraphError, match="circle"):
        flow.start(Plan((step("a"), step("b"), step("c")), (), edges), run_id="round")

    with flow.engine.read() as tx:
        assert flow.engine.runs.find(tx, "round") is None


def test_a_dependency_that_is_not_in_the_run_is_refused(flow: Flow) -> None:
    with pytest.raises(GraphError, match="unknown dependency 'elsewhere'"):
        flow.start(plan(step("a"), after={"a": ["elsewhere"]}))


# T2: promoted


def test_a_step_is_promoted_with_the_commit_of_its_last_dependency(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), step("c"), after={"c": ["a", "b"]}))
    first, second = flow.lease()

    flow.settle(first, success())
    assert steps_of(flow, run)["c"] == "pending"
    flow.settle(second, success())
    assert steps_of(flow, run)["c"] == "ready"


def test_a_delay_counts_from_the_promotion(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b", delay=micros(60)), after={"b": ["a"]}))
    flow.clock.advance(100)
    flow.do()

    flow.clock.advance(59)
    assert flow.lease() == []
    flow.clock.advance(1)
    assert [leased.id for leased in flow.lease()] == ["b"]
    assert status_of(flow, run) is RunStatus.RUNNING


# T3: canceled by what it requires


def test_a_failure_cancels_all_that_requires_it_in_one_commit_each_naming_its_own_cause(flow: Flow) -> None:
    chain = plan(*once("a", "b", "c", "d"), after={"b": ["a"], "c": ["b"]})
    run = flow.start(chain)

    flow.do(failure())

    assert steps_of(flow, run) == {
        "a": "failed",
        "b": "canceled (dependency:a)",
        "c": "canceled (dependency:b)",
        "d": "ready",
    }


def test_a_step_that_only_waits_for_the_end_of_another_goes_on_when_that_fails(flow: Flow) -> None:
    run = flow.start(Plan((step("a"), step("b")), (), (Edge(1, 0, required=False),)))

    flow.do(failure())

    assert steps_of(flow, run)["b"] == "ready"


# T4: leased


def test_a_lease_charges_an_attempt_and_raises_the_epoch(flow: Flow) -> None:
    run = flow.start(step("a"))

    leased = flow.lease_one(worker="ann")

    assert (leased.attempt, leased.lease.epoch, leased.lease.worker_id) == (1, 1, "ann")
    assert seconds_until(flow, leased.lease.expires_at) == LEASE_SECONDS
    assert status_of(flow, run) is RunStatus.RUNNING
    assert flow.lease(worker="bob") == []


def test_of_what_a_worker_serves_the_lowest_priority_number_goes_first_then_the_longest_waiting(flow: Flow) -> None:
    flow.start(step("late", priority=1), step("old"), step("foreign", kind="unserved"))
    flow.clock.advance(1)
    flow.start(step("new"), step("urgent", priority=-1))

    assert [leased.id for leased in flow.lease(kinds=["work"])] == ["urgent", "old", "new", "late"]


# T5: extended


def extended(flow: Flow, tx: Session, *leased: LeasedStep, seconds: int) -> dict[tuple[int, int], str]:
    """Extend leases; returns, by key and epoch, the run's status of each that still held."""
    return flow.engine.leases.extend(tx, leased, seconds * SECOND, tx.now())


def test_an_extended_lease_lasts_from_now_on(flow: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()
    flow.clock.advance(20)

    stranger = attrs.evolve(leased, lease=attrs.evolve(leased.lease, token="somebody else's"))
    with flow.engine.write() as tx:
        assert extended(flow, tx, leased, seconds=30) == {(leased.key, leased.lease.epoch): "running"}
        assert extended(flow, tx, stranger, seconds=90) == {}

    assert seconds_until(flow, column_of(flow, run, "a", "expires_at")) == 30


def test_an_expired_lease_can_be_extended_until_somebody_takes_the_step_back(flow: Flow) -> None:
    flow.start(step("a"))
    leased = flow.lease_one()
    flow.clock.advance(LEASE_SECONDS + 1)
    with flow.engine.write() as tx:
        assert (leased.key, leased.lease.epoch) in extended(flow, tx, leased, seconds=30)

    flow.clock.advance(LEASE_SECONDS + 1)
    flow.turn(slots=0, worker="bob")

    with flow.engine.write() as tx:
        assert extended(flow, tx, leased, seconds=30) == {}


def test_extending_tells_a_lost_lease_from_a_later_one_of_the_same_step(flow: Flow) -> None:
    flow.start(step("a"))
    lost = flow.lease_one()
    flow.clock.advance(LEASE_SECONDS + 1)
    flow.turn(slots=0)
    flow.clock.advance(LEASE_SECONDS + 1)
    later = flow.lease_one()

    with flow.engine.write() as tx:
        assert extended(flow, tx, lost, later, seconds=30) == {(later.key, later.lease.epoch): "running"}


def test_extending_tells_that_the_run_is_being_canceled(flow: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()
    flow.cancel(run)

    with flow.engine.write() as tx:
        assert extended(flow, tx, leased, seconds=30) == {(leased.key, leased.lease.epoch): "canceling"}


# T6: succeeded


def test_a_success_stores_its_result_once_and_ends_the_run(flow: Flow) -> None:
    run = flow.start(step("a"))

    flow.do(success({"pages": 2}))

    assert steps_of(flow, run) == {"a": "succeeded"}
    assert result_of(flow, run, "a") == b'{"pages": 2}'
    assert status_of(flow, run) is RunStatus.SUCCEEDED


def test_a_step_ended_when_its_attempt_did_and_not_when_that_was_written(flow: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()
    ended_at = flow.clock.advance(3)
    flow.clock.advance(2)

    flow.turn([Settlement(leased, success(), ended_at)])

    assert column_of(flow, run, "a", "ended_at") == ended_at


@pytest.mark.parametrize("forged", [{"token": "somebody else's"}, {"epoch": 7}], ids=str)
def test_an_outcome_without_the_present_token_and_epoch_writes_nothing(flow: Flow, forged: dict[str, object]) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()

    stranger = attrs.evolve(leased, lease=attrs.evolve(leased.lease, **forged))

    assert flow.settle(stranger, success({"pages": 3})) is Verdict.LOST
    assert steps_of(flow, run) == {"a": "running"}
    assert flow.settle(leased, success({"pages": 2})) is Verdict.SETTLED


# T7: retried


def test_a_retried_attempt_is_followed_by_another_no_sooner_than_its_delay(flow: Flow) -> None:
    run = flow.start(step("a"))
    flow.do(again(seconds=10))

    flow.clock.advance(9)
    assert flow.lease() == []
    flow.clock.advance(1)
    assert flow.lease_one().attempt == 2
    assert attempts_of(flow, run, "a") == [(0, 1, "retried")]


def test_an_attempt_beyond_the_budget_is_a_failure_whatever_its_worker_thinks(flow: Flow) -> None:
    run = flow.start(step("a", retry=ONCE))

    leased = flow.do(again("busy"))

    assert steps_of(flow, run) == {"a": "failed"}
    assert error_of(flow, run, "a") == "busy"
    assert flow.settle(leased, again("busy")) is Verdict.ALREADY_COMMITTED


# T8: failed


def test_a_failure_ends_the_step_whatever_budget_is_left(flow: Flow) -> None:
    run = flow.start(step("a"))

    flow.do(failure("empty_message"))

    assert (steps_of(flow, run), error_of(flow, run, "a")) == ({"a": "failed"}, "empty_message")
    assert status_of(flow, run) is RunStatus.FAILED


# T9 and T10: reclaimed, worker lost


def test_an_expired_lease_is_taken_back_and_the_next_attempt_waits_for_the_back_off(flow: Flow) -> None:
    run = flow.start(step("a", retry=TWICE))
    flow.lease_one(worker="ann")

    flow.clock.advance(LEASE_SECONDS)
    assert flow.lease(worker="bob") == []
    assert attempts_of(flow, run, "a") == [(0, 1, "lost")]
    flow.clock.advance(10)
    assert flow.lease_one(worker="bob").attempt == 2


def test_a_lease_is_not_taken_back_before_it_expires(flow: Flow) -> None:
    run = flow.start(step("a"))
    flow.lease_one(worker="ann")

    flow.clock.advance(LEASE_SECONDS - 0.001)
    flow.turn(slots=0, worker="bob")

    assert steps_of(flow, run) == {"a": "running"}


def test_a_step_that_takes_its_workers_down_fails_once_its_budget_is_spent(flow: Flow) -> None:
    run = flow.start(plan(step("a", retry=TWICE), step("b"), step("other"), after={"b": ["a"]}))

    for _ in range(2):
        flow.lease(worker="ann")
        flow.clock.advance(LEASE_SECONDS)
        flow.turn(slots=0, worker="bob")
        flow.clock.advance(10)

    assert steps_of(flow, run) | {"other": ""} == {"a": "failed", "b": "canceled (dependency:a)", "other": ""}
    assert error_of(flow, run, "a") == "worker_lost"
    assert attempts_of(flow, run, "a") == [(0, 1, "lost"), (0, 2, "lost")]


# T11: released


def test_a_released_attempt_is_not_charged(flow: Flow) -> None:
    run = flow.start(step("a", retry=ONCE))

    leased = flow.do(Released())

    again = flow.lease_one()
    assert (again.attempt, again.lease.epoch) == (1, 2)
    assert attempts_of(flow, run, "a") == [(0, 1, "released")]
    assert flow.settle(leased, success()) is Verdict.LOST
