"""Steps are read in declaration order, each with what it waits for, who runs it and why it failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowkit.clock import SECOND
from flowkit.errors import ConfigError, RunNotFound, StepNotFound
from flowkit.model.outputs import Progress
from flowkit.model.plan import Plan
from flowkit.model.retry import Retry
from flowkit.model.run import Page
from flowkit.model.states import StepStatus
from flowkit.model.step import Attempt, Step
from tests.store.clock import START
from tests.store.flow import LEASE_SECONDS, Flow, again, failure, plan, step, success


def get(flow: Flow, step_id: str, run_id: str = "r") -> Step:
    with flow.engine.read() as tx:
        return flow.engine.views.step(tx, run_id, step_id)


def listed(flow: Flow, run_id: str = "r", **options: Any) -> Page[Step]:
    with flow.engine.read() as tx:
        return flow.engine.views.steps(tx, run_id, **options)


def attempts(flow: Flow, step_id: str, run_id: str = "r") -> tuple[Attempt, ...]:
    with flow.engine.read() as tx:
        return flow.engine.views.attempts(tx, run_id, step_id)


def outcomes(flow: Flow, step_id: str = "a") -> list[str | None]:
    return [attempt.outcome for attempt in attempts(flow, step_id)]


def test_a_step_is_read_back_as_it_was_declared(flow: Flow) -> None:
    retry = Retry(max_attempts=5, backoff="fixed", on=("builtins:OSError",))
    options = {"retry": retry, "timeout": 9 * SECOND, "metadata": json.dumps({"page": 3}), "dedup_key": "a/b %2F"}
    flow.start(step("a", "book/ocr", queue="cpu", priority=-4, allow_failure=True, **options), run_id="r")
    assert get(flow, "a") == Step(
        run_id="r",
        id="a",
        kind="book/ocr",
        queue="cpu",
        status=StepStatus.READY,
        attempt=0,
        generation=0,
        priority=-4,
        parent_id=None,
        reason=None,
        allow_failure=True,
        retry=retry,
        timeout=9 * SECOND,
        created_at=START,
        ready_at=START,
        started_at=None,
        ended_at=None,
        dedup_key="a/b %2F",
        metadata={"page": 3},
    )


def test_a_running_step_says_who_runs_it_since_when_and_until_when(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.clock.advance(5)
    flow.lease_one(worker="w1")
    running = get(flow, "a")
    assert (running.status, running.attempt, running.worker_id) == (StepStatus.RUNNING, 1, "w1")
    assert running.started_at == START + 5 * SECOND
    assert running.lease_expires_at == START + (5 + LEASE_SECONDS) * SECOND


@pytest.mark.parametrize(("outcome", "status"), [(success(1), "succeeded"), (failure("x"), "failed")])
def test_a_step_that_ended_says_when_its_last_attempt_began_and_ended(flow: Flow, outcome: Any, status: str) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(again())
    flow.clock.advance(5)
    leased = flow.lease_one()
    flow.clock.advance(2)
    flow.settle(leased, outcome)
    ended = get(flow, "a")
    assert (ended.status, ended.started_at, ended.ended_at) == (status, START + 5 * SECOND, START + 7 * SECOND)


def test_a_step_canceled_before_it_was_attempted_was_never_started(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(again())
    flow.cancel("r")
    canceled = get(flow, "a")
    assert (canceled.status, canceled.reason, canceled.started_at) == (StepStatus.CANCELED, "run", None)


def test_a_step_whose_attempt_was_discarded_says_when_that_began(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    leased = flow.lease_one()
    flow.cancel("r")
    flow.settle(leased, success())
    assert (get(flow, "a").status, get(flow, "a").started_at) == (StepStatus.CANCELED, START)


def test_a_step_canceled_again_after_its_revival_was_not_started_since(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    leased = flow.lease_one()
    flow.cancel("r")
    flow.settle(leased, success())
    flow.retry_run("r")
    flow.cancel("r")
    assert (get(flow, "a").status, get(flow, "a").started_at) == (StepStatus.CANCELED, None)


def test_a_pending_step_says_how_many_steps_it_waits_for(flow: Flow) -> None:
    flow.start(plan(step("a"), step("b"), step("c"), after={"c": ["a", "b"]}), run_id="r")
    assert (get(flow, "c").status, get(flow, "c").waits_for) == (StepStatus.PENDING, 2)
    flow.do()
    assert get(flow, "c").waits_for == 1


def test_an_emitted_step_names_its_parent(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(success(emission=Plan((step("child"),))))
    assert get(flow, "child").parent_id == "a"
    assert get(flow, "a").parent_id is None


def test_a_step_that_is_tried_again_shows_its_last_error_until_it_ends_well(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    assert get(flow, "a").error is None
    flow.do(again("first"))
    flow.do(again("second"))
    ready = get(flow, "a")
    assert ready.error is not None
    assert (ready.status, ready.error.code) == (StepStatus.READY, "second")
    leased = flow.lease_one()
    running = get(flow, "a")
    assert running.error is not None
    assert (running.status, running.error.code) == (StepStatus.RUNNING, "second")
    flow.settle(leased, success())
    assert get(flow, "a").error is None


def test_a_failed_step_shows_why_and_a_revived_one_begins_without_error(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(failure("broken", "it broke"))
    error = get(flow, "a").error
    assert error is not None
    assert (error.code, error.message) == ("broken", "it broke")
    flow.retry_step("r", "a")
    revived = get(flow, "a")
    assert (revived.status, revived.generation, revived.attempt, revived.error) == (StepStatus.READY, 1, 0, None)


def test_the_last_progress_of_a_step_is_shown(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.settle(flow.lease_one(), success(), progress=Progress(3, 4, "page 3"))
    assert get(flow, "a").progress == Progress(3, 4, "page 3")


def test_steps_are_listed_in_declaration_order_emitted_ones_after_what_stood_before(flow: Flow) -> None:
    flow.start(step("c"), step("a"), step("b"), run_id="r")
    flow.do(success(emission=Plan((step("2"), step("1")))))
    assert [one.id for one in listed(flow)] == ["c", "a", "b", "2", "1"]
    assert listed(flow).cursor is None


def test_a_listed_step_is_the_same_as_one_read_alone(flow: Flow) -> None:
    flow.start(step("a"), step("b"), run_id="r")
    flow.do()
    flow.lease_one()
    assert [get(flow, one.id) for one in listed(flow)] == list(listed(flow))


def test_steps_of_other_runs_are_not_listed(flow: Flow) -> None:
    for name in ("q", "r", "s"):
        flow.start(step(f"{name}1"), step(f"{name}2"), run_id=name)
    assert [one.id for one in listed(flow)] == ["r1", "r2"]


def test_pages_of_steps_follow_each_other(flow: Flow) -> None:
    flow.start(*(step(str(number)) for number in range(5)), run_id="r")
    first = listed(flow, limit=2)
    second = listed(flow, limit=2, cursor=first.cursor)
    third = listed(flow, limit=2, cursor=second.cursor)
    assert [[one.id for one in page] for page in (first, second, third)] == [["0", "1"], ["2", "3"], ["4"]]
    assert third.cursor is None


def test_steps_are_filtered_by_one_status_or_by_several(flow: Flow) -> None:
    flow.start(*(step(name) for name in "abcd"), run_id="r")
    flow.do()
    flow.do(failure())
    flow.lease_one()
    assert [one.id for one in listed(flow, status="failed")] == ["b"]
    assert [one.id for one in listed(flow, status=[StepStatus.SUCCEEDED, "ready"])] == ["a", "d"]


def test_what_cannot_be_asked_of_a_listing_of_steps_is_refused_by_name(flow: Flow) -> None:
    flow.start(step("a"), step("b"), run_id="r")
    flow.start(step("a"), step("b"), run_id="other")
    foreign = listed(flow, "other", limit=1).cursor
    for options in ({"limit": 0}, {"limit": 10_001}, {"cursor": "nonsense"}, {"cursor": foreign}, {"status": "open"}):
        with pytest.raises(ConfigError, match=f"steps: {next(iter(options))}"):
            listed(flow, **options)


def test_a_step_that_is_not_there_is_told_apart_from_a_run_that_is_not_and_the_nearest_id_is_named(flow: Flow) -> None:
    flow.start(step("convert"), run_id="r")
    with pytest.raises(StepNotFound, match="did you mean 'convert'"):
        get(flow, "covnert")
    with pytest.raises(StepNotFound, match="did you mean 'convert'"):
        attempts(flow, "convrt")
    with pytest.raises(RunNotFound):
        get(flow, "convert", "nowhere")


def test_the_attempts_of_a_step_are_told_in_order_whatever_became_of_them(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(again("busy"))
    flow.lease_one(worker="w2")
    flow.clock.advance(LEASE_SECONDS + 1)
    flow.turn(slots=0)
    flow.clock.advance(60)
    flow.do(success(1), worker="w3")
    told = [(one.attempt, one.epoch, one.worker_id, one.outcome) for one in attempts(flow, "a")]
    assert told == [(1, 1, "worker", "retried"), (2, 2, "w2", "lost"), (3, 3, "w3", "succeeded")]
    codes = [one.error.code if one.error else None for one in attempts(flow, "a")]
    assert codes == ["busy", "worker_lost", None]


def test_the_attempt_that_runs_is_told_last_without_outcome_or_end(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    assert attempts(flow, "a") == ()
    flow.do(again())
    flow.lease_one()
    *_, running = attempts(flow, "a")
    assert (running.attempt, running.outcome, running.ended_at, running.worker_id) == (2, None, None, "worker")
    assert outcomes(flow) == ["retried", None]


def test_attempts_of_earlier_generations_stay(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(failure())
    flow.retry_step("r", "a")
    flow.do()
    told = [(one.generation, one.attempt, one.outcome) for one in attempts(flow, "a")]
    assert told == [(0, 1, "failed"), (1, 1, "succeeded")]
