"""Steps executed by the program itself: one pass, all that is due, or one run to its end."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from flowkit import CycleResult, Event, Retry, Retryable, RunBuilder, Runtime, StepContext, chain, executor, package
from flowkit.runtime.crew import Crew
from flowkit.store.lanes import REACH
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import (
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


def test_a_pass_runs_children_and_dependents_that_become_ready(flowkit_runtime: Runtime) -> None:
    @executor("emitter")
    def emitter(step: StepContext) -> None:
        step.emit("child", echo, 1)

    run = start(flowkit_runtime, lambda run: run.step("a", emitter) >> run.step("b", echo, 2), emitter, echo)
    cycle = flowkit_runtime.run_once()
    assert run.status() == "succeeded"
    assert cycle == CycleResult(refreshed=1, succeeded=3)
    assert cycle.processed == 3


def test_a_pass_makes_at_most_max_workers_attempts(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime(echo, max_workers=2)
    run = start(runtime, lambda run: run.map("a", echo, range(5)))
    assert [runtime.run_once().processed for _ in range(4)] == [2, 2, 1, 0]
    assert run.status() == "succeeded"


def test_a_pass_attempts_each_step_at_most_once(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", busy, retry=Retry(initial=0)), busy)
    assert flowkit_runtime.run_once() == CycleResult(retried=1)
    assert flowkit_runtime.run_once() == CycleResult(retried=1)
    assert flowkit_runtime.run_once() == CycleResult(failed=1)
    assert run.status() == "failed"


def test_a_pass_goes_on_behind_a_step_that_it_has_attempted(open_runtime: OpenRuntime) -> None:
    @executor("picky")
    def picky(step: StepContext) -> None:
        if step.step_id == "again":
            raise Retryable("busy")

    def describe(run: RunBuilder) -> None:
        run.step("again", picky, priority=-1, retry=Retry(initial=0))
        run.step("behind", picky)

    runtime = open_runtime(picky)
    run = start(runtime, describe)
    assert runtime.run_once() == CycleResult(succeeded=1, retried=1)
    assert standing(runtime, run.id) == {"again": "ready", "behind": "succeeded"}


@pytest.mark.parametrize("timeout", [None, 60])
def test_ctrl_c_in_a_pass_is_the_programs_and_the_step_is_given_back_at_once(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime, meeting: Meeting, timeout: int | None
) -> None:
    @executor("interrupted", timeout=timeout)
    def interrupted(step: StepContext) -> str:
        if step.lease.worker_id == flowkit_runtime.worker_id:
            # What has a timeout runs in a thread of its own, for which the program's waits.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            meeting.wait()
        return "done"

    run = start(flowkit_runtime, lambda run: run.step("a", interrupted), interrupted)
    with pytest.raises(KeyboardInterrupt):
        flowkit_runtime.run_once()
    assert standing(flowkit_runtime, run.id) == {"a": "ready"}
    meeting.let_go()
    other = open_runtime(interrupted, worker_id="other")
    assert other.run_once() == CycleResult(succeeded=1)
    # What was interrupted is charged to nobody.
    assert outcomes(other, run.id, "a") == [(1, "released"), (1, "succeeded")]


def test_ctrl_c_in_a_pass_leaves_its_slot_free(open_runtime: OpenRuntime) -> None:
    interrupts = [True]

    @executor("interrupted")
    def interrupted() -> str:
        if interrupts:
            interrupts.clear()
            signal.raise_signal(signal.SIGINT)
        return "done"

    runtime = open_runtime(interrupted, max_workers=1)
    run = start(runtime, lambda run: run.step("a", interrupted))
    with pytest.raises(KeyboardInterrupt):
        runtime.run_once()
    assert runtime.run_once() == CycleResult(succeeded=1)
    assert run.result() == "done"


@pytest.mark.parametrize("call", ["run_once", "start_workers"])
def test_ctrl_c_in_an_observer_gives_back_the_step_that_it_was_told_of(open_runtime: OpenRuntime, call: str) -> None:
    interrupts = [True]

    def interrupted(event: Event) -> None:
        if event.name == "step_leased" and interrupts.pop():
            raise KeyboardInterrupt

    runtime = open_runtime(echo, observers=[interrupted])
    run = start(runtime, lambda run: run.step("a", echo, 1, retry=Retry(max_attempts=1)), echo)
    with pytest.raises(KeyboardInterrupt):
        getattr(runtime, call)()
    interrupts.append(False)
    runtime.drain()
    assert standing(runtime, run.id) == {"a": "succeeded"}


def test_a_pass_that_an_observer_makes_leaves_alone_what_the_outer_one_leased(open_runtime: OpenRuntime) -> None:
    called: list[str] = []

    @executor("noted")
    def noted(step: StepContext) -> None:
        called.append(step.step_id)

    def makes_a_pass(event: Event) -> None:
        if event.name == "step_leased" and event.step_id == "a":
            runtime.run_once()

    runtime = open_runtime(noted, observers=[makes_a_pass], max_workers=1)
    run = start(runtime, lambda run: [run.step("a", noted), run.step("b", noted)], noted)
    runtime.drain()
    assert sorted(called) == ["a", "b"]
    assert standing(runtime, run.id) == {"a": "succeeded", "b": "succeeded"}


def test_a_worker_that_ctrl_c_stops_calls_nothing_more(
    open_runtime: OpenRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    @executor("noted")
    def noted(step: StepContext) -> None:
        called.append(step.step_id)

    def interrupted(event: Event) -> None:
        if event.name == "step_leased":
            raise KeyboardInterrupt

    launch = Crew.launch

    def slow(crew: Crew, attempts: Any) -> None:
        launch(crew, attempts)
        eventually(lambda: called)

    monkeypatch.setattr(Crew, "launch", slow)
    runtime = open_runtime(noted, observers=[interrupted])
    run = start(runtime, lambda run: run.step("a", noted), noted)
    with pytest.raises(KeyboardInterrupt):
        runtime.start_workers()
    assert (called, standing(runtime, run.id)) == ([], {"a": "ready"})


def test_a_pass_counts_what_was_canceled(flowkit_runtime: Runtime) -> None:
    runs: list[str] = []

    @executor("cancel")
    def cancel(step: StepContext) -> None:
        flowkit_runtime.cancel_run(step.run_id)

    runs.append(start(flowkit_runtime, lambda run: run.step("a", cancel), cancel).id)
    assert flowkit_runtime.run_once() == CycleResult(canceled=1)
    assert standing(flowkit_runtime, runs[0]) == {"a": "canceled (run)"}


def test_draining_goes_on_until_nothing_is_due_and_sums_up(open_runtime: OpenRuntime, flowkit_clock: FakeClock) -> None:
    runtime = open_runtime(echo, busy, fail, max_workers=1)

    def describe(run: RunBuilder) -> None:
        run.map("a", echo, range(3))
        run.step("b", busy, retry=Retry(2, initial=5))
        run.step("c", fail)

    run = start(runtime, describe)
    assert runtime.drain() == CycleResult(succeeded=3, retried=1, failed=1)
    assert run.status() == "running"
    flowkit_clock.advance(5)
    assert runtime.drain() == CycleResult(failed=1)


def test_draining_stops_after_so_many_cycles(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime(echo, max_workers=1)
    start(runtime, lambda run: run.map("a", echo, range(5)))
    assert runtime.drain(max_cycles=2).processed == 2


def test_draining_stops_when_its_time_is_over(open_runtime: OpenRuntime, flowkit_clock: FakeClock) -> None:
    @executor("tick")
    def tick(step: StepContext) -> None:
        flowkit_clock.advance(1)

    runtime = open_runtime(tick, max_workers=1)
    start(runtime, lambda run: run.map("a", tick, [None] * 5) and None)
    assert runtime.drain(timeout=3).processed == 3


def test_running_a_package_waits_out_its_delays(open_runtime: OpenRuntime, flowkit_clock: FakeClock) -> None:
    runtime = open_runtime(echo, busy, poll_interval=3600)

    def describe(run: RunBuilder) -> Any:
        run.step("b", busy, retry=Retry(2, initial=7), allow_failure=True)
        return run.step("a", echo, "late", delay=60)

    first = start(runtime, describe)
    runtime.cancel_run(first.id)
    begun = flowkit_clock.now()
    found: list[Any] = []
    thread = in_background(lambda: found.append(runtime.run("story").result()))
    eventually(lambda: flowkit_clock.advance(1) or found)
    thread.join(30)
    assert found == ["late"]
    assert flowkit_clock.now() - begun >= 60_000_000


def test_running_a_package_leaves_other_runs_alone(flowkit_runtime: Runtime) -> None:
    other = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    assert flowkit_runtime.run("story").result() == 1
    assert other.status() == "pending"


def test_draining_does_not_spin_while_the_only_slot_is_taken_by_what_timed_out(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    @executor("slow", timeout=5, retry=Retry(initial=0))
    def slow(step: StepContext) -> int:
        if step.attempt == 1:
            meeting.wait()
        return step.attempt

    runtime = open_runtime(slow, max_workers=1)
    run = start(runtime, lambda run: run.step("a", slow))
    drained: list[CycleResult] = []
    draining = in_background(lambda: drained.append(runtime.drain()))
    meeting.expect()
    flowkit_clock.advance(5)
    draining.join(30)
    assert drained == [CycleResult(retried=1)]
    meeting.let_go()
    eventually(lambda: runtime.drain().processed or run.status() == "succeeded")
    assert run.result() == 2


def test_running_a_package_goes_on_when_the_slot_of_what_timed_out_comes_free(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    @executor("slow", timeout=5, retry=Retry(initial=0))
    def slow(step: StepContext) -> int:
        if step.attempt == 1:
            meeting.wait()
        return step.attempt

    runtime = open_runtime(slow, max_workers=1, poll_interval=3600)
    runtime.cancel_run(start(runtime, lambda run: run.step("a", slow)).id)
    found: list[Any] = []
    running = in_background(lambda: found.append(runtime.run("story").result()))
    meeting.expect()
    flowkit_clock.advance(5)
    eventually(lambda: outcomes(runtime, runtime.runs()[0].id, "a") == [(1, "retried")])
    meeting.let_go()
    running.join(30)
    assert found == [2]


def test_an_executor_that_runs_another_run_in_the_last_slot_is_told_so(open_runtime: OpenRuntime) -> None:
    def nested(step: StepContext) -> None:
        runtime.run("inner")

    outer, inner = executor("outer")(nested), package("inner")(lambda run: run.step("b", echo, 1))
    runtime = open_runtime(outer, echo, max_workers=1)
    runtime.register_package(inner)
    run = start(runtime, lambda run: run.step("a", outer))
    assert runtime.run_once() == CycleResult(failed=1)
    [failed] = runtime.attempts(run.id, "a")
    assert failed.error is not None
    assert "an executor that holds the last slot" in failed.error.message


def test_an_executor_may_run_another_run_where_there_is_a_slot_left(open_runtime: OpenRuntime) -> None:
    def nested(step: StepContext) -> Any:
        return runtime.run("inner").result()

    outer, inner = executor("outer")(nested), package("inner")(lambda run: run.step("b", echo, 1))
    runtime = open_runtime(outer, echo, max_workers=2)
    runtime.register_package(inner)
    run = start(runtime, lambda run: run.step("a", outer))
    runtime.run_once()
    assert run.result() == runtime.run("inner").result()


def test_one_run_is_executed_though_the_steps_of_others_are_ready_before_it(open_runtime: OpenRuntime) -> None:
    @package("crowd")
    def crowd(run: RunBuilder) -> None:
        run.map("a", echo, range(REACH + 1))

    @package("one")
    def one(run: RunBuilder) -> Any:
        return chain(run.step("first", echo, 1), run.step("last", echo, 2))

    runtime = open_runtime(echo, crowd, one)
    waiting = runtime.start_run("crowd")
    assert runtime.run("one").result("last") == 2
    assert set(standing(runtime, waiting.id).values()) == {"ready"}
