"""A run's history tells all that happened, in order and without gaps; replaying it gives what is stored."""

from __future__ import annotations

from typing import Any

import pytest

from flowkit import Permanent, Retry, Retryable, RunBuilder, RunNotFound, Runtime, StepContext, executor, optional
from flowkit.testing import Crash, FakeClock, WorkerCrashed
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import echo, start


@executor("flaky", retry=Retry(initial=0))
def flaky(step: StepContext) -> int:
    if step.attempt == 1:
        raise Retryable("at_first")
    step.emit("child", echo, 1)
    return step.attempt


@executor("hopeless")
def hopeless(step: StepContext) -> None:
    raise Permanent("hopeless")


def eventful(run: RunBuilder) -> None:
    first = run.step("first", flaky)
    bad = run.step("bad", hopeless, allow_failure=True)
    run.step("never", echo, 1, after=bad)
    pages = run.map("page", echo, [1, 2], after=[first, optional(bad)])
    run.step("last", echo, 1, after=pages)
    run.step("other", echo, 1, after=pages)


def names(runtime: Runtime, run_id: str) -> list[str]:
    return [event.name for event in runtime.history(run_id)]


@pytest.mark.parametrize("given", [True, False], ids=["with a clock", "without a clock"])
def test_replaying_the_history_gives_the_rows_whoever_tells_the_time(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock, given: bool
) -> None:
    """The comparison itself is made in the end of every story, by the check of the store."""
    runtime = open_runtime(flaky, hopeless, echo, clock=flowkit_clock if given else None)
    run = start(runtime, eventful)
    runtime.drain()
    assert run.status() == "succeeded"
    canceled = start(runtime, lambda run: run.step("a", echo, 1, delay=600))
    runtime.cancel_run(canceled.id)
    runtime.retry_run(canceled.id)
    for one in (run, canceled):
        history = runtime.history(one.id)
        assert [event.seq for event in history] == list(range(len(history)))
        assert [event.at for event in history] == sorted(event.at for event in history)


def test_a_history_names_what_happened_and_to_which_step(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("first", flaky), flaky, echo)
    flowkit_runtime.drain()
    history = flowkit_runtime.history(run.id)
    assert [(event.name, event.step_id) for event in history] == [
        ("steps_added", None),
        ("step_leased", "first"),
        ("step_retried", "first"),
        ("step_leased", "first"),
        ("steps_added", None),
        ("step_succeeded", "first"),
        ("step_leased", "child"),
        ("step_succeeded", "child"),
        ("run_finished", None),
    ]
    assert history[0].fields["step_ids"] == ["first"]
    assert history[4].fields["step_ids"] == ["child"]
    assert history[1].worker_id == flowkit_runtime.worker_id


def test_a_lost_worker_is_part_of_the_history(
    flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_clock: FakeClock
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1, retry=Retry(initial=0)), echo)
    flowkit_crash.at("after_lease")
    with pytest.raises(WorkerCrashed):
        flowkit_runtime.drain()
    flowkit_clock.advance(31)
    flowkit_runtime.drain()
    assert names(flowkit_runtime, run.id) == [
        "steps_added",
        "step_leased",
        "step_reclaimed",
        "step_leased",
        "step_succeeded",
        "run_finished",
    ]


def test_operators_commands_are_part_of_the_history(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    flowkit_runtime.cancel_run(run.id)
    flowkit_runtime.retry_step(run.id, "a")
    flowkit_runtime.drain()
    told = names(flowkit_runtime, run.id)
    assert told[1:4] == ["run_canceling", "step_canceled", "run_finished"]
    assert told[4:] == ["step_revived", "step_leased", "step_succeeded", "run_finished"]


def test_the_history_of_a_run_that_is_not_there_is_refused(flowkit_runtime: Runtime) -> None:
    with pytest.raises(RunNotFound):
        flowkit_runtime.history("nobody")


def test_a_clock_that_is_set_back_makes_no_attempt_end_before_it_began(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock
) -> None:
    @executor("back")
    def back(step: StepContext) -> None:
        flowkit_clock.step(-3600)

    def describe(run: RunBuilder) -> Any:
        run.step("a", back) >> run.step("b", echo, 1, delay=5)

    run = start(flowkit_runtime, describe, back, echo)
    flowkit_runtime.drain()
    flowkit_clock.advance(5)
    flowkit_runtime.drain()
    assert run.status() == "succeeded"
