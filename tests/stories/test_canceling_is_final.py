"""After ``cancel_run`` nothing starts, nothing is stored, and the run ends canceled and stays so."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flowkit import InvalidTransition, Retry, Retryable, RunCanceled, RunNotFound, Runtime, StepContext, executor
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import (
    LEASE_SECONDS,
    Meeting,
    busy,
    echo,
    eventually,
    fail,
    in_background,
    outcomes,
    standing,
    start,
)


def test_what_waits_ends_at_once_when_a_run_is_canceled(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1) >> run.step("b", echo, 2), echo)
    canceled = flowkit_runtime.cancel_run(run.id)
    assert canceled.status == "canceled"
    assert standing(flowkit_runtime, run.id) == {"a": "canceled (run)", "b": "canceled (run)"}
    assert flowkit_runtime.drain().processed == 0
    with pytest.raises(RunCanceled):
        run.result()


def test_canceling_twice_changes_nothing(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    first = flowkit_runtime.cancel_run(run.id)
    assert flowkit_runtime.cancel_run(run.id) == first


@pytest.mark.parametrize(("end", "status"), [(echo, "succeeded"), (fail, "failed")])
def test_a_run_that_has_ended_cannot_be_canceled(flowkit_runtime: Runtime, end: object, status: str) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", end), end)
    flowkit_runtime.drain()
    with pytest.raises(InvalidTransition, match=f"too late: {status}") as refused:
        flowkit_runtime.cancel_run(run.id)
    assert refused.value.status == status
    assert run.status() == status


def test_a_run_that_is_not_there_cannot_be_canceled(flowkit_runtime: Runtime) -> None:
    with pytest.raises(RunNotFound):
        flowkit_runtime.cancel_run("nobody")


@pytest.mark.parametrize("how", ["returns", "fails", "would be retried"])
def test_whatever_a_canceled_step_still_delivers_is_discarded(
    flowkit_runtime: Runtime, meeting: Meeting, how: str
) -> None:
    @executor("stubborn")
    def stubborn(step: StepContext) -> int:
        meeting.wait()
        step.record("marks", "it", 1)
        step.artifact("it", b"1")
        step.emit("child", echo, 1)
        if how == "fails":
            raise ValueError("too late to fail")
        if how == "would be retried":
            raise Retryable("again")
        return 1

    run = start(flowkit_runtime, lambda run: run.step("a", stubborn), stubborn, echo)
    worker = in_background(flowkit_runtime.run_once)
    meeting.expect()
    assert flowkit_runtime.cancel_run(run.id).status == "canceling"
    meeting.let_go()
    worker.join(30)
    assert run.status() == "canceled"
    assert standing(flowkit_runtime, run.id) == {"a": "canceled (run)"}
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "discarded")]
    result = flowkit_runtime.result(run.id, "a")
    assert result is not None
    assert (result.json, result.records, result.artifacts, result.emitted_ids) == (None, (), (), ())


def test_a_canceled_run_does_not_come_back_to_life_when_its_retry_delay_is_over(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", busy, retry=Retry(initial=5)), busy)
    flowkit_runtime.drain()
    assert flowkit_runtime.cancel_run(run.id).status == "canceled"
    flowkit_clock.advance(60)
    assert flowkit_runtime.drain().processed == 0
    assert run.status() == "canceled"


def test_a_run_with_a_failed_step_that_is_canceled_ends_canceled(flowkit_runtime: Runtime) -> None:
    def describe(run):  # type: ignore[no-untyped-def]
        run.step("bad", fail)
        run.step("late", echo, 1, delay=60)

    run = start(flowkit_runtime, describe, fail, echo)
    flowkit_runtime.drain()
    assert run.status() == "running"
    assert flowkit_runtime.cancel_run(run.id).status == "canceled"


def test_a_run_stays_canceling_until_its_last_running_step_has_ended(
    flowkit_runtime: Runtime, meeting: Meeting
) -> None:
    @executor("stubborn")
    def stubborn(step: StepContext) -> None:
        meeting.wait()

    run = start(flowkit_runtime, lambda run: run.map("a", stubborn, [None, None]) and None, stubborn)
    with flowkit_runtime.workers():
        meeting.expect()
        meeting.expect()
        flowkit_runtime.cancel_run(run.id)
        assert run.status() == "canceling"
        with pytest.raises(InvalidTransition):
            flowkit_runtime.retry_run(run.id)
        meeting.let_go()
        assert run.wait(timeout=30).status == "canceled"


def test_a_thread_is_told_that_its_run_was_canceled(flowkit_runtime: Runtime, meeting: Meeting) -> None:
    told: list[str] = []

    @executor("patient")
    def patient(step: StepContext) -> None:
        meeting.wait()
        eventually(lambda: step.canceled)
        try:
            step.raise_if_canceled()
        except RunCanceled as error:
            told.append(error.run_id)
            raise

    run = start(flowkit_runtime, lambda run: run.step("a", patient), patient)
    with flowkit_runtime.workers():
        meeting.expect()
        flowkit_runtime.cancel_run(run.id)
        meeting.let_go()
        assert run.wait(timeout=30).status == "canceled"
    assert told == [run.id]


def test_a_coroutine_is_canceled_with_its_run(flowkit_runtime: Runtime) -> None:
    started, ended = threading.Event(), threading.Event()

    @executor("patient")
    async def patient(step: StepContext) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    run = start(flowkit_runtime, lambda run: run.step("a", patient), patient)
    with flowkit_runtime.workers():
        assert started.wait(30)
        flowkit_runtime.cancel_run(run.id)
        assert run.wait(timeout=30).status == "canceled"
    assert ended.is_set()


def test_a_coroutine_that_ignores_its_cancellation_delivers_nothing(flowkit_runtime: Runtime) -> None:
    started = threading.Event()

    @executor("stubborn")
    async def stubborn(step: StepContext) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "never mind"
        return "never"

    run = start(flowkit_runtime, lambda run: run.step("a", stubborn), stubborn)
    with flowkit_runtime.workers():
        assert started.wait(30)
        flowkit_runtime.cancel_run(run.id)
        assert run.wait(timeout=30).status == "canceled"
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "discarded")]


def test_a_worker_in_another_process_is_told_at_its_next_heartbeat(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, open_runtime: OpenRuntime, meeting: Meeting
) -> None:
    @executor("patient")
    def patient(step: StepContext) -> None:
        meeting.wait()
        eventually(lambda: step.canceled)

    run = start(flowkit_runtime, lambda run: run.step("a", patient), patient)
    with flowkit_runtime.workers():
        meeting.expect()
        meeting.let_go()
        open_runtime().cancel_run(run.id)
        flowkit_clock.advance(LEASE_SECONDS / 3)
        assert run.wait(timeout=30).status == "canceled"
