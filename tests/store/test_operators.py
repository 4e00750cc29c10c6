"""Every move that operators make of a step, T12 to T15: what it does, what its guard refuses, and who wins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowkit.clock import micros
from flowkit.errors import InvalidTransition, RunNotFound, StepNotFound
from flowkit.model.outcome import Released
from flowkit.model.states import RunStatus
from flowkit.store.closing import Verdict
from flowkit.store.engine import Engine
from tests.store.flow import Flow, again, failure, plan, step, success
from tests.store.story import ONCE, attempts_of, guarded, history_of, once, status_of, steps_of


@pytest.fixture(autouse=True)
def sound(engine: Engine) -> Iterator[None]:
    with guarded(engine):
        yield


# T12 and T13: canceled with its run


def test_canceling_a_run_ends_what_waits_and_lets_what_runs_come_to_its_end(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), step("c", delay=micros(5)), after={"b": ["a"]}))
    leased = flow.lease_one()

    flow.cancel(run)

    assert steps_of(flow, run) == {"a": "running", "b": "canceled (run)", "c": "canceled (run)"}
    assert status_of(flow, run) is RunStatus.CANCELING
    flow.settle(leased, success())
    assert status_of(flow, run) is RunStatus.CANCELED


@pytest.mark.parametrize("outcome", [success(1), failure(), again(), Released()], ids=lambda o: type(o).__name__)
def test_whatever_comes_back_in_a_run_that_is_being_canceled_is_discarded(flow: Flow, outcome: object) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()
    flow.cancel(run)

    assert flow.settle(leased, outcome) is Verdict.SETTLED  # type: ignore[arg-type]

    assert steps_of(flow, run) == {"a": "canceled (run)"}
    assert attempts_of(flow, run, "a") == [(0, 1, "discarded")]
    assert history_of(flow, run)[-2:] == ["step_discarded", "run_finished"]


# T14: retried by an operator


def test_an_operators_retry_starts_a_generation_with_a_fresh_budget_and_keeps_the_history(flow: Flow) -> None:
    run = flow.start(step("a", retry=ONCE))
    flow.do(failure())

    flow.retry_step(run, "a")

    assert status_of(flow, run) is RunStatus.RUNNING
    leased = flow.lease_one()
    assert (leased.generation, leased.attempt, leased.lease.epoch) == (1, 1, 2)
    flow.settle(leased, success())
    assert status_of(flow, run) is RunStatus.SUCCEEDED
    assert attempts_of(flow, run, "a") == [(0, 1, "failed")]


def test_only_a_failed_or_canceled_step_can_be_retried(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), step("c"), after={"b": ["a"]}))
    flow.do()
    flow.lease_one()

    for step_id, status in {"a": "succeeded", "b": "running", "c": "ready"}.items():
        with pytest.raises(InvalidTransition, match=f"step .* of run .* is {status}") as refused:
            flow.retry_step(run, step_id)
        assert refused.value.status == status


def test_a_step_whose_requirement_stays_dead_cannot_be_retried(flow: Flow) -> None:
    run = flow.start(plan(*once("a", "b"), after={"b": ["a"]}))
    flow.do(failure())

    with pytest.raises(InvalidTransition, match="'b' requires 'a'"):
        flow.retry_step(run, "b")


def test_a_run_that_succeeded_is_never_left(flow: Flow) -> None:
    run = flow.start(step("a", allow_failure=True))
    flow.do(failure())
    assert status_of(flow, run) is RunStatus.SUCCEEDED

    with pytest.raises(InvalidTransition, match="succeeded"):
        flow.retry_step(run, "a")
    with pytest.raises(InvalidTransition, match="run .* is succeeded"):
        flow.retry_run(run)


def test_a_run_that_is_being_canceled_cannot_be_retried(flow: Flow) -> None:
    run = flow.start(step("a"), step("b"))
    flow.lease_one()
    flow.cancel(run)

    with pytest.raises(InvalidTransition, match="canceling"):
        flow.retry_step(run, "b")
    with pytest.raises(InvalidTransition, match="canceling"):
        flow.retry_step(run, "a", force=True)
    with pytest.raises(InvalidTransition, match="canceling"):
        flow.retry_run(run)


def test_what_is_not_there_cannot_be_canceled_or_retried(flow: Flow) -> None:
    run = flow.start(step("page"))

    with pytest.raises(RunNotFound):
        flow.cancel("nobody's")
    with pytest.raises(StepNotFound, match="did you mean 'page'"):
        flow.retry_step(run, "pages")


# T15: fenced


def test_a_forced_retry_fences_the_attempt_that_runs(flow: Flow) -> None:
    run = flow.start(step("a"))
    stuck = flow.lease_one(worker="ann")

    flow.retry_step(run, "a", force=True)

    assert attempts_of(flow, run, "a") == [(0, 1, "fenced")]
    assert flow.settle(stuck, success("old")) is Verdict.LOST
    fresh = flow.lease_one(worker="bob")
    assert (fresh.generation, fresh.attempt, fresh.lease.epoch) == (1, 1, 2)
    assert flow.settle(stuck, success("old")) is Verdict.LOST
    assert flow.settle(fresh, success("new")) is Verdict.SETTLED


# Operators among themselves, and with completions


def test_of_two_operators_who_retry_one_step_one_is_refused(flow: Flow, other: Flow) -> None:
    run = flow.start(step("a"))
    flow.do(failure())

    flow.retry_step(run, "a")
    with pytest.raises(InvalidTransition, match="step .* is ready"):
        other.retry_step(run, "a")

    assert flow.lease_one().generation == 1


def test_a_retry_before_the_failure_is_refused_and_after_it_taken(flow: Flow, other: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()

    with pytest.raises(InvalidTransition, match="force=True"):
        other.retry_step(run, "a")
    flow.settle(leased, failure())
    other.retry_step(run, "a")

    assert steps_of(flow, run) == {"a": "ready"}
    assert flow.settle(leased, failure()) is Verdict.ALREADY_COMMITTED


def test_a_forced_retry_and_a_completion_are_ordered(flow: Flow, other: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()
    flow.settle(leased, success())

    with pytest.raises(InvalidTransition, match="step .* is succeeded"):
        other.retry_step(run, "a", force=True)


def test_a_retry_that_looked_before_another_one_brings_nothing_back(flow: Flow) -> None:
    run = flow.start(step("a", retry=ONCE))
    flow.do(failure())
    with flow.engine.write() as tx:
        seen = flow.engine.runs.lock(tx, run)
    assert seen is not None
    flow.retry_step(run, "a")
    flow.do(failure())

    with flow.engine.write() as tx:
        # It counts on what it saw, and would count one step twice.
        assert not flow.engine.runs.reopen(tx, seen, opened=1, failed=1, by_run=0, now=tx.now())


def test_a_step_that_requires_two_dead_ones_comes_back_with_the_second(flow: Flow) -> None:
    run = flow.start(plan(*once("a", "b", "c"), after={"c": ["a", "b"]}))
    flow.finish(lambda leased: failure())
    assert steps_of(flow, run)["c"] == "canceled (dependency:a)"

    flow.retry_step(run, "a")
    assert steps_of(flow, run) == {"a": "ready", "b": "failed", "c": "canceled (dependency:b)"}
    assert history_of(flow, run)[-1] == "step_repointed"
    flow.retry_step(run, "b")
    assert steps_of(flow, run) == {"a": "ready", "b": "ready", "c": "pending"}

    assert flow.finish() == ["a", "b", "c"]
    assert status_of(flow, run) is RunStatus.SUCCEEDED


def test_a_retry_brings_back_a_whole_chain_that_died_with_the_step(flow: Flow) -> None:
    run = flow.start(plan(*once("a", "b", "c", "d"), after={"b": ["a"], "c": ["b"], "d": ["c", "a"]}))
    flow.do(failure())

    flow.retry_step(run, "a")

    assert steps_of(flow, run) == {"a": "ready", "b": "pending", "c": "pending", "d": "pending"}
    assert "step_repointed" not in history_of(flow, run)
    assert flow.finish() == ["a", "b", "c", "d"]


def test_a_retry_does_not_bring_back_what_the_cancel_of_the_run_ended(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    flow.cancel(run)

    flow.retry_step(run, "a")

    assert steps_of(flow, run) == {"a": "ready", "b": "canceled (run)"}
    flow.finish()
    assert status_of(flow, run) is RunStatus.CANCELED
    flow.retry_run(run)
    assert flow.finish() == ["b"]
    assert status_of(flow, run) is RunStatus.SUCCEEDED
