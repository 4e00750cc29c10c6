"""How a run ends follows from its steps alone, in the commit that ends the last of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flowkit.model.outcome import Outcome, Released
from flowkit.model.plan import Plan
from flowkit.model.states import RunStatus
from flowkit.model.step import LeasedStep
from flowkit.store.engine import Engine
from tests.store.flow import LEASE_SECONDS, Flow, again, failure, plan, step, success
from tests.store.story import ONCE, guarded, history_of, once, optionally, status_of, steps_of


@pytest.fixture(autouse=True)
def sound(engine: Engine) -> Iterator[None]:
    with guarded(engine):
        yield


def failing(*ids: str) -> Callable[[LeasedStep], Outcome]:
    return lambda leased: failure() if leased.id in ids else success()


CHAIN = plan(*once("a", "b", "c"), after={"b": ["a"]})
FORGIVEN = plan(step("a", allow_failure=True), step("b"), step("c"), after={"b": ["a"]})


@pytest.mark.parametrize(
    ("laid_out", "fails", "end"),
    [
        pytest.param(CHAIN, (), RunStatus.SUCCEEDED, id="all succeeded"),
        pytest.param(CHAIN, ("c",), RunStatus.FAILED, id="one failed"),
        pytest.param(CHAIN, ("a",), RunStatus.FAILED, id="one failed and took another along"),
        pytest.param(FORGIVEN, ("a",), RunStatus.SUCCEEDED, id="only an allowed failure, though it took another along"),
        pytest.param(FORGIVEN, ("a", "c"), RunStatus.FAILED, id="an allowed failure and another one"),
        pytest.param(optionally(CHAIN), ("a",), RunStatus.FAILED, id="a failure that is optional to its waiter"),
        pytest.param(Plan(()), (), RunStatus.SUCCEEDED, id="no step at all"),
    ],
)
def test_a_run_ends_as_its_steps_did(flow: Flow, laid_out: Plan, fails: tuple[str, ...], end: RunStatus) -> None:
    run = flow.start(laid_out)

    flow.finish(failing(*fails))

    assert status_of(flow, run) is end
    assert history_of(flow, run)[-1] == "run_finished"


def test_a_run_that_waits_for_nothing_but_time_is_not_over(flow: Flow) -> None:
    run = flow.start(step("a"))

    flow.do(again(seconds=3600))

    assert status_of(flow, run) is RunStatus.RUNNING


def test_a_run_whose_last_worker_is_lost_ends_with_the_sweep(flow: Flow) -> None:
    run = flow.start(step("a", retry=ONCE))
    flow.lease_one(worker="ann")
    flow.clock.advance(LEASE_SECONDS)

    flow.turn(slots=0, worker="bob")

    assert status_of(flow, run) is RunStatus.FAILED
    assert [event.name for event in flow.events][-3:] == ["lease_expired", "step_failed", "run_finished"]


def test_a_canceled_run_is_canceled_whatever_failed_before(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"), step("c"))
    flow.do(failure())
    leased = flow.lease_one()

    flow.cancel(run)
    assert status_of(flow, run) is RunStatus.CANCELING
    flow.settle(leased, failure())

    assert status_of(flow, run) is RunStatus.CANCELED


def test_a_run_of_which_nothing_runs_is_canceled_at_once(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))

    flow.cancel(run)

    assert status_of(flow, run) is RunStatus.CANCELED
    assert history_of(flow, run) == ["steps_added", "run_canceling", "step_canceled", "run_finished"]


def test_a_worker_that_stops_lets_a_canceled_run_end(flow: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()
    flow.cancel(run)

    flow.settle(leased, Released())

    assert status_of(flow, run) is RunStatus.CANCELED


def test_one_retried_step_of_a_canceled_run_does_not_make_it_a_success(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    flow.cancel(run)
    flow.retry_step(run, "a")
    assert status_of(flow, run) is RunStatus.RUNNING

    flow.finish()

    assert steps_of(flow, run) == {"a": "succeeded", "b": "canceled (run)"}
    assert status_of(flow, run) is RunStatus.CANCELED


def test_a_retried_step_of_a_canceled_run_that_fails_makes_it_failed(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    flow.cancel(run)
    flow.retry_step(run, "a")

    flow.do(failure())

    assert status_of(flow, run) is RunStatus.FAILED


def test_retrying_a_run_retries_all_that_is_dead_in_it(flow: Flow) -> None:
    run = flow.start(plan(*once("a", "b", "c", "d"), after={"b": ["a"], "d": ["b", "c"]}))
    flow.finish(failing("a"))
    assert status_of(flow, run) is RunStatus.FAILED

    flow.retry_run(run)

    assert steps_of(flow, run) == {"a": "ready", "b": "pending", "c": "succeeded", "d": "pending"}
    assert flow.finish() == ["a", "b", "d"]
    assert status_of(flow, run) is RunStatus.SUCCEEDED


def test_a_run_can_be_canceled_again_after_a_retry(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    flow.cancel(run)
    flow.retry_run(run)

    flow.cancel(run)

    assert status_of(flow, run) is RunStatus.CANCELED
    flow.retry_run(run)
    assert flow.finish() == ["a", "b"]


def test_a_failed_step_can_be_retried_while_its_run_goes_on(flow: Flow) -> None:
    run = flow.start(*once("a", "b"))
    flow.do(failure())
    running = flow.lease_one()

    flow.retry_step(run, "a")
    flow.settle(running, success())
    assert status_of(flow, run) is RunStatus.RUNNING
    flow.finish()

    assert status_of(flow, run) is RunStatus.SUCCEEDED
