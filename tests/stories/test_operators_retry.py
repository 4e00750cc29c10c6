"""An operator's retry: a fresh budget, the history kept, and the dependents revived that nothing else holds back."""

from __future__ import annotations

from typing import Any

import pytest

from flowkit import InvalidTransition, Permanent, Retry, RunBuilder, Runtime, StepContext, StepNotFound, executor
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, after_read, busy, echo, fail, in_background, outcomes, standing, start


class Weather:
    """Says which steps fail; the executor asks it."""

    def __init__(self, *bad: str) -> None:
        self.bad = set(bad)


@pytest.fixture
def weather() -> Weather:
    return Weather()


@pytest.fixture
def work(weather: Weather) -> Any:
    @executor("work")
    def work(step: StepContext) -> str:
        if step.step_id in weather.bad:
            raise Permanent("bad_weather", step.step_id)
        return step.step_id

    return work


def test_a_retried_step_revives_its_dependents(flowkit_runtime: Runtime, weather: Weather, work: Any) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("a", work) >> run.step("b", work) >> run.step("c", work)

    weather.bad = {"a"}
    run = start(flowkit_runtime, describe, work)
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {
        "a": "failed",
        "b": "canceled (dependency:a)",
        "c": "canceled (dependency:b)",
    }
    assert run.status() == "failed"

    weather.bad.clear()
    step = flowkit_runtime.retry_step(run.id, "a")
    assert (step.status, step.generation, step.attempt) == ("ready", 1, 0)
    assert standing(flowkit_runtime, run.id) == {"a": "ready", "b": "pending", "c": "pending"}
    assert run.status() == "running"
    flowkit_runtime.drain()
    assert run.status() == "succeeded"
    assert [one.outcome for one in flowkit_runtime.attempts(run.id, "a")] == ["failed", "succeeded"]


def test_a_dependent_with_two_dead_dependencies_is_revived_only_with_the_second(
    flowkit_runtime: Runtime, weather: Weather, work: Any
) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("c", work, after=[run.step("a", work), run.step("b", work)])

    weather.bad = {"a", "b"}
    run = start(flowkit_runtime, describe, work)
    flowkit_runtime.drain()
    weather.bad.clear()
    flowkit_runtime.retry_step(run.id, "a")
    assert standing(flowkit_runtime, run.id)["c"] == "canceled (dependency:b)"
    flowkit_runtime.retry_step(run.id, "b")
    assert standing(flowkit_runtime, run.id)["c"] == "pending"
    flowkit_runtime.drain()
    assert run.status() == "succeeded"


def test_a_canceled_dependent_cannot_be_retried_while_what_it_requires_is_dead(
    flowkit_runtime: Runtime, weather: Weather, work: Any
) -> None:
    weather.bad = {"a"}
    run = start(flowkit_runtime, lambda run: run.step("a", work) >> run.step("b", work), work)
    flowkit_runtime.drain()
    with pytest.raises(InvalidTransition, match="'a'") as refused:
        flowkit_runtime.retry_step(run.id, "b")
    assert refused.value.status == "canceled"


def test_retrying_a_run_retries_all_that_died_in_it(flowkit_runtime: Runtime, weather: Weather, work: Any) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("good", work)
        run.step("c", work, after=[run.step("a", work), run.step("b", work)])

    weather.bad = {"a", "b"}
    run = start(flowkit_runtime, describe, work)
    flowkit_runtime.drain()
    weather.bad.clear()
    assert flowkit_runtime.retry_run(run.id).status == "running"
    assert standing(flowkit_runtime, run.id) == {"good": "succeeded", "a": "ready", "b": "ready", "c": "pending"}
    flowkit_runtime.drain()
    assert run.status() == "succeeded"


def test_a_retried_step_has_its_whole_budget_again(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", busy, retry=Retry(max_attempts=2)), busy)
    for _ in range(2):
        flowkit_runtime.drain()
        flowkit_clock.advance(1)
        flowkit_runtime.drain()
        assert run.status() == "failed"
        if len(flowkit_runtime.attempts(run.id, "a")) == 2:
            flowkit_runtime.retry_step(run.id, "a")
    attempts = flowkit_runtime.attempts(run.id, "a")
    assert [(one.generation, one.attempt, one.outcome) for one in attempts] == [
        (0, 1, "retried"),
        (0, 2, "failed"),
        (1, 1, "retried"),
        (1, 2, "failed"),
    ]
    assert [one.epoch for one in attempts] == [1, 2, 3, 4]


def test_a_second_click_on_retry_is_refused(flowkit_runtime: Runtime, weather: Weather, work: Any) -> None:
    weather.bad = {"a"}
    run = start(flowkit_runtime, lambda run: run.step("a", work), work)
    flowkit_runtime.drain()
    flowkit_runtime.retry_step(run.id, "a")
    with pytest.raises(InvalidTransition) as refused:
        flowkit_runtime.retry_step(run.id, "a")
    assert refused.value.status == "ready"
    assert flowkit_runtime.step(run.id, "a").generation == 1


def test_a_running_step_is_retried_only_by_force(flowkit_runtime: Runtime, meeting: Meeting) -> None:
    @executor("slow")
    def slow(step: StepContext) -> None:
        meeting.wait()

    run = start(flowkit_runtime, lambda run: run.step("a", slow), slow)
    worker = in_background(flowkit_runtime.run_once)
    meeting.expect()
    with pytest.raises(InvalidTransition, match="step .* is running") as refused:
        flowkit_runtime.retry_step(run.id, "a")
    assert refused.value.status == "running"
    meeting.let_go()
    worker.join(30)
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "succeeded")]


def test_a_succeeded_step_cannot_be_retried(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    flowkit_runtime.drain()
    with pytest.raises(InvalidTransition) as refused:
        flowkit_runtime.retry_step(run.id, "a", force=True)
    assert refused.value.status == "succeeded"


def test_a_run_that_has_not_died_cannot_be_retried(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    for status in ("pending", "succeeded"):
        with pytest.raises(InvalidTransition) as refused:
            flowkit_runtime.retry_run(run.id)
        assert refused.value.status == status
        flowkit_runtime.drain()


def test_a_step_that_is_not_there_is_named_with_the_nearest_one(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("index", echo, 1), echo)
    with pytest.raises(StepNotFound, match="did you mean 'index'"):
        flowkit_runtime.retry_step(run.id, "indx")


def test_a_run_left_with_an_allowed_failure_and_its_cascade_succeeds(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("a", fail, allow_failure=True) >> run.step("b", echo, 1)
        run.step("c", echo, 2)

    run = start(flowkit_runtime, describe, fail, echo)
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {
        "a": "failed",
        "b": "canceled (dependency:a)",
        "c": "succeeded",
    }
    assert run.status() == "succeeded"


def test_an_allowed_failure_of_a_succeeded_run_cannot_be_retried(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", fail, allow_failure=True), fail)
    flowkit_runtime.drain()
    with pytest.raises(InvalidTransition) as refused:
        flowkit_runtime.retry_step(run.id, "a")
    assert refused.value.status == "succeeded"
    with pytest.raises(InvalidTransition):
        flowkit_runtime.retry_run(run.id)


def test_an_allowed_failure_can_be_retried_while_its_run_goes_on(
    flowkit_runtime: Runtime, weather: Weather, work: Any
) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("a", work, allow_failure=True)
        run.step("late", work, delay=60)

    weather.bad = {"a"}
    run = start(flowkit_runtime, describe, work)
    flowkit_runtime.drain()
    weather.bad.clear()
    flowkit_runtime.retry_step(run.id, "a")
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {"a": "succeeded", "late": "ready"}


def test_one_retried_step_of_a_canceled_run_leaves_it_canceled_in_the_end(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("a", echo, 1)
        run.step("b", echo, 2)

    run = start(flowkit_runtime, describe, echo)
    flowkit_runtime.cancel_run(run.id)
    flowkit_runtime.retry_step(run.id, "a")
    assert run.status() == "running"
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {"a": "succeeded", "b": "canceled (run)"}
    assert run.status() == "canceled"


def test_a_retried_canceled_run_succeeds(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1) >> run.step("b", echo, 2), echo)
    flowkit_runtime.cancel_run(run.id)
    flowkit_runtime.retry_run(run.id)
    flowkit_runtime.drain()
    assert run.status() == "succeeded"


def test_a_step_of_a_group_that_is_retried_revives_what_the_group_held_back(
    flowkit_runtime: Runtime, weather: Weather
) -> None:
    @executor("page")
    def page(step: StepContext, number: int) -> int:
        if step.step_id in weather.bad:
            raise Permanent("bad_weather")
        return number

    @executor("total")
    def total(step: StepContext, *, pages: list[int]) -> int:
        return sum(pages)

    def describe(run: RunBuilder) -> Any:
        pages = run.map("page", page, [1, 2, 3])
        run.step("check", total, pages=pages)
        return run.step("total", total, pages=pages)

    weather.bad = {"page[1]"}
    run = start(flowkit_runtime, describe, page, total)
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id)["total"] == "canceled (dependency:page[1])"
    weather.bad.clear()
    flowkit_runtime.retry_step(run.id, "page[1]")
    flowkit_runtime.drain()
    assert run.result() == 6


@pytest.mark.parametrize("nth", range(1, 7))
def test_a_step_that_is_retried_while_it_is_read_is_read_as_it_was(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime, nth: int
) -> None:
    @executor("second-time")
    def second_time(step: StepContext) -> str:
        step.record("notes", "one", "of the second time")
        if not retried:
            raise Permanent("first_time")
        return "done"

    def retry() -> None:
        retried.append(other.retry_step(run.id, "a"))
        other.drain()

    retried: list[Any] = []
    run, other = start(flowkit_runtime, lambda run: run.step("a", second_time), second_time), open_runtime(second_time)
    flowkit_runtime.drain()
    with after_read(nth, retry):
        found = flowkit_runtime.result(run.id, "a")

    assert found is not None
    assert (found.status, found.data, found.records) == ("failed", None, ())
