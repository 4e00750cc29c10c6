"""Only who holds the lease may write: a worker that lost it learns so, and nothing it did is seen."""

from __future__ import annotations

import threading

import pytest

from flowkit import Event, LeaseLost, Runtime, StepContext, executor
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import LEASE_SECONDS, Meeting, echo, eventually, in_background, outcomes, standing, start


@executor("count")
def quick_count(step: StepContext) -> int:
    step.record("counts", "it", "quick")
    return 2


@pytest.fixture
def held_up(flowkit_runtime: Runtime, meeting: Meeting) -> Meeting:
    """Start a run ``story`` whose only step is slow; its worker may be held up for longer than its lease lasts."""

    @executor("count")
    def slow_count(step: StepContext) -> int:
        meeting.wait()
        step.record("counts", "it", "slow")
        step.artifact("count.txt", "1")
        step.emit("child", echo, "of the slow worker")
        return 1

    start(flowkit_runtime, lambda run: run.step("count", slow_count), slow_count, echo, run_id="story")
    return meeting


def test_a_worker_without_a_lease_cannot_overwrite_a_result(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, held_up: Meeting, open_runtime: OpenRuntime
) -> None:
    slow = in_background(flowkit_runtime.run_once)
    held_up.expect()
    # The wall clock jumps, as when a laptop wakes up: the worker did not notice, and extended nothing.
    flowkit_clock.step(LEASE_SECONDS + 1)
    quick = open_runtime(quick_count)
    quick.run_once()
    flowkit_clock.step(2)
    quick.run_once()
    held_up.let_go()
    slow.join(30)

    result = quick.result("story", "count")
    assert result is not None
    assert result.data == 2
    assert [record.data for record in result.records] == ["quick"]
    assert (result.artifacts, result.emitted_ids) == ((), ())
    assert outcomes(quick, "story", "count") == [(1, "lost"), (2, "succeeded")]
    assert standing(quick, "story") == {"count": "succeeded"}


def test_a_worker_without_a_lease_does_not_disturb_the_attempt_that_runs(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, held_up: Meeting, open_runtime: OpenRuntime
) -> None:
    running, finish = threading.Event(), threading.Event()

    @executor("count")
    def other_count(step: StepContext) -> int:
        running.set()
        assert finish.wait(30)
        return 2

    slow = in_background(flowkit_runtime.run_once)
    held_up.expect()
    flowkit_clock.step(LEASE_SECONDS + 1)
    other = open_runtime(other_count)
    other.run_once()
    flowkit_clock.step(2)
    quick = in_background(other.run_once)
    assert running.wait(30)
    held_up.let_go()
    slow.join(30)
    step = other.step("story", "count")
    assert (step.status, step.worker_id) == ("running", other.worker_id)
    finish.set()
    quick.join(30)
    assert outcomes(other, "story", "count") == [(1, "lost"), (2, "succeeded")]
    assert other.handle("story").result() == 2


def test_a_late_result_is_refused_once_the_step_was_reclaimed_though_nobody_runs_it_yet(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, held_up: Meeting, open_runtime: OpenRuntime
) -> None:
    slow = in_background(flowkit_runtime.run_once)
    held_up.expect()
    flowkit_clock.step(LEASE_SECONDS + 1)
    open_runtime().run_once()
    held_up.let_go()
    slow.join(30)
    assert standing(flowkit_runtime, "story") == {"count": "ready"}
    assert outcomes(flowkit_runtime, "story", "count") == [(1, "lost")]


def test_a_late_result_is_accepted_while_nobody_reclaimed_the_step(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, held_up: Meeting
) -> None:
    slow = in_background(flowkit_runtime.run_once)
    held_up.expect()
    flowkit_clock.step(LEASE_SECONDS + 1)
    held_up.let_go()
    slow.join(30)
    assert outcomes(flowkit_runtime, "story", "count") == [(1, "succeeded")]


def test_a_worker_that_is_alive_keeps_its_lease_however_long_the_step_takes(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, held_up: Meeting, open_runtime: OpenRuntime
) -> None:
    slow = in_background(flowkit_runtime.run_once)
    held_up.expect()
    other = open_runtime(quick_count)
    for _ in range(6):
        expires_at = other.step("story", "count").lease_expires_at
        flowkit_clock.advance(LEASE_SECONDS / 3)
        eventually(lambda before=expires_at: other.step("story", "count").lease_expires_at != before)
        other.run_once()
    held_up.let_go()
    slow.join(30)
    assert outcomes(other, "story", "count") == [(1, "succeeded")]


def test_a_worker_learns_at_its_next_heartbeat_that_its_lease_is_lost(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, open_runtime: OpenRuntime, meeting: Meeting
) -> None:
    errors: list[LeaseLost] = []

    @executor("watch")
    def watch(step: StepContext) -> None:
        meeting.wait()
        eventually(lambda: step.canceled)
        try:
            step.raise_if_canceled()
        except LeaseLost as error:
            errors.append(error)
            raise

    start(flowkit_runtime, lambda run: run.step("watch", watch), watch, run_id="story")
    slow = in_background(flowkit_runtime.run_once)
    meeting.expect()
    flowkit_clock.step(LEASE_SECONDS + 1)
    other = open_runtime()
    other.run_once()
    meeting.let_go()
    flowkit_clock.advance(LEASE_SECONDS / 3)
    slow.join(30)
    assert [(error.run_id, error.step_id) for error in errors] == [("story", "watch")]
    assert outcomes(other, "story", "watch") == [(1, "lost")]


def test_a_forced_retry_fences_the_attempt_that_runs(flowkit_runtime: Runtime, held_up: Meeting) -> None:
    slow = in_background(flowkit_runtime.run_once)
    held_up.expect()
    step = flowkit_runtime.retry_step("story", "count", force=True)
    assert (step.status, step.generation, step.attempt) == ("ready", 1, 0)
    held_up.let_go()
    slow.join(30)
    assert outcomes(flowkit_runtime, "story", "count") == [(1, "fenced")]
    flowkit_runtime.drain()
    attempts = flowkit_runtime.attempts("story", "count")
    assert [(one.generation, one.attempt, one.outcome) for one in attempts] == [(0, 1, "fenced"), (1, 1, "succeeded")]
    assert standing(flowkit_runtime, "story") == {"count": "succeeded", "child": "succeeded"}


def test_an_attempt_that_an_observer_held_up_for_longer_than_the_lease_is_told_to_stop_at_once(
    flowkit_clock: FakeClock, open_runtime: OpenRuntime
) -> None:
    stopped: list[int] = []
    others: list[Runtime] = []

    @executor("count")
    def slow_count(step: StepContext) -> None:
        eventually(lambda: step.canceled)
        stopped.append(step.attempt)

    def hold_up(event: Event) -> None:
        if event.name == "step_leased" and not others:
            flowkit_clock.advance(LEASE_SECONDS + 1)
            others.append(open_runtime(quick_count))
            others[0].run_once()

    slow = open_runtime(slow_count, observers=[hold_up])
    run = start(slow, lambda run: run.step("count", slow_count), slow_count)
    slow.run_once()
    flowkit_clock.advance(2)
    others[0].run_once()
    assert stopped == [1]
    assert outcomes(slow, run.id, "count") == [(1, "lost"), (2, "succeeded")]
