"""A worker that is killed loses nothing: what it held is attempted again, but not without end."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flowkit import Retry, Runtime, StepContext, executor
from flowkit.clock import micros
from flowkit.store.leases import Leases
from flowkit.testing import Crash, FakeClock, WorkerCrashed
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import (
    LEASE_SECONDS,
    Meeting,
    code_of,
    echo,
    eventually,
    in_background,
    outcomes,
    standing,
    start,
)


def kill_at(point: str, runtime: Runtime, crash: Crash) -> None:
    """Let the worker run until it dies there."""
    crash.at(point)  # type: ignore[arg-type]
    with pytest.raises(WorkerCrashed):
        runtime.drain()


def test_one_kill_fails_nothing_under_a_plain_executor(
    flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_clock: FakeClock, open_runtime: OpenRuntime
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("echo", echo, "still here"), echo)
    kill_at("after_lease", flowkit_runtime, flowkit_crash)
    assert standing(flowkit_runtime, run.id) == {"echo": "running"}

    flowkit_clock.advance(LEASE_SECONDS + 1)
    survivor = open_runtime(echo)
    survivor.drain()
    flowkit_clock.advance(1)
    survivor.drain()
    assert run.result() == "still here"
    assert outcomes(survivor, run.id, "echo") == [(1, "lost"), (2, "succeeded")]


def test_what_died_under_a_clock_that_was_ahead_is_taken_back_after_a_lease_not_when_it_would_expire(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock
) -> None:
    ahead = FakeClock(flowkit_clock.now() + micros(3600))
    killed, survivor = open_runtime(echo, clock=ahead), open_runtime(echo)
    run = start(killed, lambda run: run.step("a", echo, "still here"))
    kill_at("after_lease", killed, Crash(killed))
    begun = flowkit_clock.now()
    with survivor.workers():
        # A lease that ends in an hour may be of somebody who lives, for as long as it could still be extended.
        eventually(lambda: flowkit_clock.advance(1) or run.status() == "succeeded")
    assert micros(LEASE_SECONDS) < flowkit_clock.now() - begun < micros(1800)
    assert outcomes(survivor, run.id, "a") == [(1, "lost"), (2, "succeeded")]


def test_a_killed_step_that_may_be_attempted_once_fails_as_worker_lost(
    flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_clock: FakeClock
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("echo", echo, 1, retry=Retry(max_attempts=1)), echo)
    kill_at("after_lease", flowkit_runtime, flowkit_crash)
    flowkit_clock.advance(LEASE_SECONDS + 1)
    flowkit_runtime.drain()
    assert code_of(flowkit_runtime, run.id, "echo") == "worker_lost"
    assert run.status() == "failed"


def test_a_step_that_kills_every_worker_runs_out_of_attempts(
    flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_clock: FakeClock
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("echo", echo, 1), echo)
    for _ in range(3):
        kill_at("after_lease", flowkit_runtime, flowkit_crash)
        flowkit_clock.advance(LEASE_SECONDS + 1)
        flowkit_runtime.drain()
        flowkit_clock.advance(10)
    flowkit_runtime.drain()
    assert outcomes(flowkit_runtime, run.id, "echo") == [(1, "lost"), (2, "lost"), (3, "lost")]
    assert code_of(flowkit_runtime, run.id, "echo") == "worker_lost"
    assert run.status() == "failed"


def test_a_step_that_kills_its_worker_holds_up_no_other_step_of_its_queue(
    flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_clock: FakeClock, open_runtime: OpenRuntime
) -> None:
    run = start(
        flowkit_runtime,
        lambda run: [run.step("deadly", echo, 1, priority=-1), run.step("harmless", echo, 2)],
        echo,
    )
    kill_at("after_lease", flowkit_runtime, flowkit_crash)
    open_runtime(echo).drain()
    assert standing(flowkit_runtime, run.id) == {"deadly": "running", "harmless": "succeeded"}


def test_a_worker_killed_before_it_commits_leaves_nothing_of_the_attempt(
    flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_clock: FakeClock
) -> None:
    calls: list[int] = []

    @executor("mark")
    def mark(step: StepContext) -> int:
        calls.append(step.attempt)
        step.record("marks", "it", step.attempt)
        step.emit("child", echo, step.attempt)
        return step.attempt

    run = start(flowkit_runtime, lambda run: run.step("mark", mark), mark, echo)
    kill_at("before_commit", flowkit_runtime, flowkit_crash)
    assert calls == [1]
    assert standing(flowkit_runtime, run.id) == {"mark": "running"}
    assert len(flowkit_runtime.records(run.id, collection="marks")) == 0

    flowkit_clock.advance(LEASE_SECONDS + 1)
    flowkit_runtime.drain()
    flowkit_clock.advance(1)
    flowkit_runtime.drain()
    assert calls == [1, 2]
    assert [record.data for record in flowkit_runtime.records(run.id, collection="marks")] == [2]
    assert standing(flowkit_runtime, run.id) == {"mark": "succeeded", "child": "succeeded"}


def test_a_worker_killed_after_it_committed_has_lost_nothing(flowkit_runtime: Runtime, flowkit_crash: Crash) -> None:
    run = start(flowkit_runtime, lambda run: run.step("echo", echo, 1), echo)
    kill_at("after_commit", flowkit_runtime, flowkit_crash)
    assert outcomes(flowkit_runtime, run.id, "echo") == [(1, "succeeded")]
    assert run.result() == 1


def test_a_worker_killed_at_its_heartbeat_writes_nothing_any_more(
    flowkit_runtime: Runtime,
    flowkit_crash: Crash,
    flowkit_clock: FakeClock,
    open_runtime: OpenRuntime,
    meeting: Meeting,
) -> None:
    @executor("slow")
    def slow(step: StepContext) -> str:
        meeting.wait()
        return f"attempt {step.attempt}"

    run = start(flowkit_runtime, lambda run: run.step("slow", slow), slow)
    flowkit_crash.at("during_heartbeat")
    with pytest.raises(WorkerCrashed), flowkit_runtime.workers():
        meeting.expect()
        flowkit_clock.advance(LEASE_SECONDS / 3)
        eventually(lambda: not any(thread.name == "flowkit-worker" for thread in threading.enumerate()))
        meeting.let_go()
    assert standing(flowkit_runtime, run.id) == {"slow": "running"}
    flowkit_clock.advance(LEASE_SECONDS)
    survivor = open_runtime(slow)
    survivor.drain()
    flowkit_clock.advance(1)
    survivor.drain()
    assert run.result() == "attempt 2"


def test_an_error_that_nobody_expected_at_a_heartbeat_costs_no_lease(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    @executor("slow")
    def slow(step: StepContext) -> int:
        meeting.wait()
        return step.attempt

    asked: list[bool] = []
    extend = Leases.extend

    def broken_once(*arguments: Any) -> Any:
        asked.append(True)
        if len(asked) == 1:
            raise ValueError("not an error of the store")
        return extend(*arguments)

    monkeypatch.setattr(Leases, "extend", broken_once)
    runtime = open_runtime(slow, lease_duration=3600)
    run = start(runtime, lambda run: run.step("slow", slow))
    with runtime.workers():
        meeting.expect()
        until = runtime.step(run.id, "slow").lease_expires_at
        flowkit_clock.advance(1200)
        eventually(lambda: asked)
        eventually(lambda: flowkit_clock.advance(1) or len(asked) > 1)
        eventually(lambda: runtime.step(run.id, "slow").lease_expires_at != until)
        meeting.let_go()
        assert run.result(timeout=30) == 1
    assert outcomes(runtime, run.id, "slow") == [(1, "succeeded")]


def test_draining_ends_though_a_lease_runs_out_between_two_looks_for_expired_ones(
    flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_clock: FakeClock
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    kill_at("after_lease", flowkit_runtime, flowkit_crash)
    flowkit_clock.advance(LEASE_SECONDS - 0.5)
    flowkit_runtime.drain()
    flowkit_clock.advance(0.5)
    flowkit_runtime.drain()
    flowkit_clock.advance(2)
    flowkit_runtime.drain()
    flowkit_clock.advance(1)
    flowkit_runtime.drain()
    assert run.result() == 1


def test_the_steps_that_waited_for_a_killed_one_go_on(
    flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_clock: FakeClock
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1) >> run.step("b", echo, 2), echo)
    kill_at("after_lease", flowkit_runtime, flowkit_crash)
    flowkit_clock.advance(LEASE_SECONDS + 1)
    flowkit_runtime.drain()
    flowkit_clock.advance(1)
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {"a": "succeeded", "b": "succeeded"}


def test_a_canceled_run_whose_worker_was_killed_is_canceled_when_the_lease_is_over(
    flowkit_runtime: Runtime, flowkit_crash: Crash, flowkit_clock: FakeClock
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("echo", echo, 1), echo)
    kill_at("after_lease", flowkit_runtime, flowkit_crash)
    assert flowkit_runtime.cancel_run(run.id).status == "canceling"
    flowkit_clock.advance(LEASE_SECONDS + 1)
    flowkit_runtime.drain()
    assert run.status() == "canceled"
    assert standing(flowkit_runtime, run.id) == {"echo": "canceled (run)"}


def test_an_attempt_that_a_graceful_stop_gave_back_is_not_counted(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, open_runtime: OpenRuntime, meeting: Meeting
) -> None:
    @executor("slow")
    def slow(step: StepContext) -> int:
        meeting.wait()
        return step.attempt

    run = start(flowkit_runtime, lambda run: run.step("slow", slow, retry=Retry(max_attempts=1)), slow)
    worker = in_background(flowkit_runtime.start_workers)
    meeting.expect()
    flowkit_runtime.shutdown(grace=0)
    worker.join(30)
    assert standing(flowkit_runtime, run.id) == {"slow": "ready"}
    meeting.let_go()
    open_runtime(slow).drain()
    assert run.result() == 1
    assert outcomes(flowkit_runtime, run.id, "slow") == [(1, "released"), (1, "succeeded")]
