"""An attempt that takes longer than its timeout is settled then; what it still delivers is discarded."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from flowkit import LeaseLost, Retry, Runtime, StepContext, executor
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, code_of, echo, eventually, in_background, outcomes, standing, start

ONCE = Retry(max_attempts=1)


def advance_until(clock: FakeClock, seconds: float, condition: Any) -> None:
    """Move the clock once the executor was called, for its time counts from there."""
    clock.advance(seconds)
    eventually(condition)


@pytest.mark.parametrize("limit", [5, timedelta(seconds=5)])
def test_a_thread_that_takes_too_long_is_settled_at_once_and_what_it_still_delivers_is_discarded(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, meeting: Meeting, limit: Any
) -> None:
    told: list[bool] = []

    @executor("slow", timeout=limit, retry=ONCE)
    def slow(step: StepContext) -> str:
        meeting.wait()
        told.append(step.canceled)
        return "too late"

    run = start(flowkit_runtime, lambda run: run.step("a", slow), slow)
    with flowkit_runtime.workers():
        meeting.expect()
        flowkit_clock.advance(5)
        assert run.wait(timeout=30).status == "failed"
        meeting.let_go()
        eventually(lambda: told)
    assert told == [True]
    assert code_of(flowkit_runtime, run.id, "a") == "timeout"
    assert flowkit_runtime.step(run.id, "a").status == "failed"
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "failed")]


def test_a_thread_that_hands_something_over_when_its_time_is_over_learns_that_its_step_is_lost(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    refused: list[str] = []

    @executor("slow", timeout=5, retry=ONCE)
    def slow(step: StepContext) -> None:
        step.record("marks", "in time", 1)
        meeting.wait()
        try:
            step.record("marks", "too late", 1)
        except LeaseLost as error:
            refused.append(str(error))
            raise

    run = start(flowkit_runtime, lambda run: run.step("a", slow), slow, run_id="r")
    with flowkit_runtime.workers():
        meeting.expect()
        flowkit_clock.advance(5)
        assert run.wait(timeout=30).status == "failed"
        meeting.let_go()
        eventually(lambda: refused)
    assert refused == ["the lease on step 'a' of run 'r' is lost; its effects are discarded"]
    assert code_of(flowkit_runtime, run.id, "a") == "timeout"
    assert len(flowkit_runtime.records(run.id, collection="marks")) == 0


def test_the_slot_of_a_thread_that_timed_out_is_taken_until_it_ends(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    @executor("slow", timeout=5, retry=ONCE)
    def slow(step: StepContext) -> None:
        meeting.wait()

    runtime = open_runtime(slow, echo, max_workers=1)
    slow_run = start(runtime, lambda run: run.step("a", slow))
    with runtime.workers():
        meeting.expect()
        flowkit_clock.advance(5)
        assert slow_run.wait(timeout=30).status == "failed"
        waiting = start(runtime, lambda run: run.step("a", echo, 1))
        runtime.run_once()  # its own slots are free: it is the worker in the background that has none
        assert waiting.wait(timeout=30).status == "succeeded"
        third = start(runtime, lambda run: run.step("a", echo, 1))
        flowkit_clock.advance(1)
        assert standing(runtime, third.id) == {"a": "ready"}
        meeting.let_go()
        assert third.wait(timeout=30).status == "succeeded"


def test_a_timeout_is_retried_as_the_policy_says(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    @executor("slow", timeout=5)
    def slow(step: StepContext) -> int:
        if step.attempt == 1:
            meeting.wait()
        return step.attempt

    run = start(flowkit_runtime, lambda run: run.step("a", slow), slow)
    with flowkit_runtime.workers():
        meeting.expect()
        flowkit_clock.advance(5)
        eventually(lambda: flowkit_runtime.step(run.id, "a").status == "ready")
        meeting.let_go()
        flowkit_clock.advance(1)
        assert run.result(timeout=30) == 2
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "retried"), (2, "succeeded")]


def test_a_coroutine_that_takes_too_long_is_canceled(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    started, ended = threading.Event(), threading.Event()

    @executor("slow", timeout=5, retry=ONCE)
    async def slow(step: StepContext) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    run = start(flowkit_runtime, lambda run: run.step("a", slow), slow)
    with flowkit_runtime.workers():
        assert started.wait(30)
        flowkit_clock.advance(5)
        assert run.wait(timeout=30).status == "failed"
        assert ended.wait(30)
    assert code_of(flowkit_runtime, run.id, "a") == "timeout"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_pass_in_this_thread_does_not_wait_for_what_timed_out(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, meeting: Meeting, is_async: bool
) -> None:
    @executor("slow", timeout=5, retry=ONCE)
    def slow(step: StepContext) -> None:
        meeting.wait()

    @executor("slow", timeout=5, retry=ONCE)
    async def slow_async(step: StepContext) -> None:
        meeting.arrived.release()
        await asyncio.Event().wait()

    chosen: Any = slow_async if is_async else slow
    run = start(flowkit_runtime, lambda run: run.step("a", chosen), chosen)
    worker = in_background(flowkit_runtime.run_once)
    meeting.expect()
    flowkit_clock.advance(5)
    worker.join(30)
    assert not worker.is_alive()
    assert code_of(flowkit_runtime, run.id, "a") == "timeout"


def test_time_in_the_line_for_a_thread_does_not_count(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    """A timeout is of one attempt, from the call of its executor."""

    @executor("quick", timeout=5)
    def quick(step: StepContext) -> str:
        return "in time"

    run = start(open_runtime(quick), lambda run: run.step("a", quick, delay=60))
    flowkit_clock.advance(60)
    runtime = open_runtime(quick)
    runtime.drain()
    assert runtime.handle(run.id).result() == "in time"


def test_a_step_may_look_whether_its_time_is_over(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    seen: list[str] = []

    @executor("polite", timeout=5, retry=ONCE)
    def polite(step: StepContext) -> None:
        step.raise_if_canceled()
        meeting.wait()
        eventually(lambda: step.canceled)
        try:
            step.raise_if_canceled()
        except Exception as error:
            seen.append(type(error).__name__)
            raise

    run = start(flowkit_runtime, lambda run: run.step("a", polite), polite)
    with flowkit_runtime.workers():
        meeting.expect()
        meeting.let_go()
        flowkit_clock.advance(5)
        assert run.wait(timeout=30).status == "failed"
        eventually(lambda: seen)
    assert seen == ["AttemptTimeout"]
    assert code_of(flowkit_runtime, run.id, "a") == "timeout"
