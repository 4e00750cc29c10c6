"""The ways to execute steps: a pass, all that is due, one run to its end, or a worker that goes on until it is told."""

from __future__ import annotations

import _thread
import asyncio
import socket
import threading
from typing import Any

import pytest

from flowkit import ConfigError, CycleResult, Retry, RunBuilder, Runtime, StepContext, executor
from flowkit.model.worker import WorkerInfo
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
    register,
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


def test_a_worker_goes_on_until_its_event_is_set(flowkit_runtime: Runtime) -> None:
    stop = threading.Event()
    register(flowkit_runtime, echo)
    worker = in_background(lambda: flowkit_runtime.start_workers(stop=stop, poll_interval=3600))
    for number in range(3):
        run = start(flowkit_runtime, lambda run, number=number: run.step("a", echo, number))
        assert run.result(timeout=30) == number
    stop.set()
    worker.join(30)
    assert not worker.is_alive()


def test_a_worker_stops_after_so_many_passes(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    flowkit_runtime.start_workers(max_cycles=1)
    assert run.status() == "succeeded"


def test_a_worker_that_is_told_to_shut_down_finishes_what_is_in_flight(
    flowkit_runtime: Runtime, meeting: Meeting
) -> None:
    @executor("slow")
    def slow(step: StepContext) -> str:
        meeting.wait()
        return "finished"

    run = start(flowkit_runtime, lambda run: run.step("a", slow), slow)
    worker = in_background(flowkit_runtime.start_workers)
    meeting.expect()
    flowkit_runtime.shutdown()
    late = start(flowkit_runtime, lambda run: run.step("b", echo, 1), echo)
    meeting.let_go()
    worker.join(30)
    assert run.result() == "finished"
    assert late.status() == "pending"


def test_what_is_not_finished_within_the_grace_is_given_back(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    told = threading.Event()

    @executor("slow")
    def slow(step: StepContext) -> str:
        meeting.wait()
        if step.canceled:
            told.set()
        return "too late"

    run = start(flowkit_runtime, lambda run: run.step("a", slow), slow)
    worker = in_background(flowkit_runtime.start_workers)
    meeting.expect()
    flowkit_runtime.shutdown(grace=5)
    # The worker may not have begun to count yet when the clock is moved.
    eventually(lambda: flowkit_clock.advance(1) or not worker.is_alive())
    assert standing(flowkit_runtime, run.id) == {"a": "ready"}
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "released")]
    meeting.let_go()
    assert told.wait(30)


def test_ctrl_c_gives_back_what_is_in_flight_at_once(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    @executor("interrupting")
    def interrupting(step: StepContext) -> None:
        _thread.interrupt_main()
        meeting.wait()

    run = start(flowkit_runtime, lambda run: run.step("a", interrupting), interrupting)
    with pytest.raises(KeyboardInterrupt):
        flowkit_runtime.start_workers(poll_interval=3600)
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "released")]
    assert standing(flowkit_runtime, run.id) == {"a": "ready"}


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


def test_a_worker_says_what_it_serves_also_when_that_becomes_more(flowkit_runtime: Runtime) -> None:
    with flowkit_runtime.workers(poll_interval=3600):
        register(flowkit_runtime, echo)
        eventually(lambda: [worker.kinds for worker in flowkit_runtime.stats().workers] == [("echo",)])
    assert flowkit_runtime.stats().workers == ()


def test_a_worker_says_now_and_then_that_it_is_still_there(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    with flowkit_runtime.workers(poll_interval=10):
        eventually(lambda: flowkit_runtime.stats().workers)
        begun = flowkit_runtime.stats().workers[0].seen_at
        eventually(lambda: flowkit_clock.advance(10) or flowkit_runtime.stats().workers[0].seen_at > begun)
        assert flowkit_runtime.stats().workers[0].started_at == begun


def test_a_worker_forgets_those_that_died(flowkit_runtime: Runtime) -> None:
    with flowkit_runtime._parts.engine.write() as tx:
        dead = WorkerInfo("dead/1", socket.gethostname(), 2**22 + 1, "", ("echo",), 0, 0)
        flowkit_runtime._parts.engine.workers.announce(tx, dead)
    with flowkit_runtime.workers():
        eventually(lambda: [worker.kinds for worker in flowkit_runtime.stats().workers] == [()])


def test_workers_in_the_background_stop_with_their_block(flowkit_runtime: Runtime) -> None:
    with flowkit_runtime.workers() as same:
        assert same is flowkit_runtime
        run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
        assert run.result(timeout=30) == 1
    late = start(flowkit_runtime, lambda run: run.step("a", echo, 1))
    assert late.status() == "pending"
    with flowkit_runtime.workers():
        assert late.result(timeout=30) == 1


def test_an_error_of_workers_in_the_background_is_raised_at_the_end_of_their_block(flowkit_runtime: Runtime) -> None:
    with pytest.raises(ConfigError, match="one start_workers"), flowkit_runtime.workers():
        eventually(lambda: flowkit_runtime.stats().workers)
        with flowkit_runtime.workers():
            pass


def test_an_error_of_the_block_itself_is_not_hidden(flowkit_runtime: Runtime) -> None:
    with pytest.raises(ZeroDivisionError), flowkit_runtime.workers():
        raise ZeroDivisionError


def test_a_second_worker_of_one_runtime_is_refused(flowkit_runtime: Runtime) -> None:
    with flowkit_runtime.workers():
        eventually(lambda: flowkit_runtime.stats().workers)
        with pytest.raises(ConfigError, match="one start_workers"):
            flowkit_runtime.start_workers()


def test_a_worker_runs_as_many_attempts_at_once_as_it_may_threads_and_coroutines_together(
    open_runtime: OpenRuntime, meeting: Meeting
) -> None:
    @executor("thread")
    def in_thread(step: StepContext) -> None:
        meeting.wait()

    @executor("loop")
    async def in_loop(step: StepContext) -> None:
        await asyncio.to_thread(meeting.wait)

    runtime = open_runtime(in_thread, in_loop, max_workers=4)

    def describe(run: RunBuilder) -> None:
        run.map("thread", in_thread, [None] * 5)
        run.map("loop", in_loop, [None] * 5)

    run = start(runtime, describe)
    with runtime.workers():
        for _ in range(4):
            meeting.expect()
        assert len(runtime.steps(run.id, status="running")) == 4
        meeting.let_go()
        assert run.wait(timeout=30).status == "succeeded"


def test_many_steps_are_all_done_once(flowkit_runtime: Runtime) -> None:
    counts: dict[str, int] = {}

    @executor("count")
    def count(step: StepContext) -> None:
        counts[step.step_id] = counts.get(step.step_id, 0) + 1

    run = start(flowkit_runtime, lambda run: run.map("a", count, [None] * 300) and None, count)
    with flowkit_runtime.workers():
        assert run.wait(timeout=30).status == "succeeded"
    assert set(counts.values()) == {1}
    assert len(counts) == 300


def test_a_run_may_be_started_and_waited_for_by_an_executor(flowkit_runtime: Runtime) -> None:
    @executor("outer")
    def outer(step: StepContext) -> Any:
        inner = flowkit_runtime.start_run("story", run_id=f"{step.run_id}-inner")
        return inner.result(timeout=30)

    def describe(run: RunBuilder) -> Any:
        return run.step("a", outer) if not run.id.endswith("-inner") else run.step("a", echo, "inner")

    run = start(flowkit_runtime, describe, outer, echo)
    with flowkit_runtime.workers():
        assert run.result(timeout=30) == "inner"


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda rt: rt.start_workers(poll_interval=0), "poll_interval"),
        (lambda rt: rt.shutdown(grace=-1), "grace"),
        (lambda rt: rt.shutdown(grace=float("nan")), "grace"),
        (lambda rt: rt.workers(poll_interval="soon").__enter__(), "poll_interval"),
        (lambda rt: rt.start_workers(max_cycles=-1), "max_cycles"),
        (lambda rt: rt.drain(max_cycles=0), "max_cycles"),
        (lambda rt: rt.drain(timeout="soon"), "timeout"),
        (lambda rt: rt.start_workers(max_cycles=1, stop=5), "stop"),
        (lambda rt: start(rt, lambda run: run.step("a", echo, 1), echo).wait(timeout="soon"), "timeout"),
        (lambda rt: rt.pause_queue(""), "name"),
        (lambda rt: rt.pause_queue("a b"), "name"),
    ],
)
def test_an_argument_out_of_range_is_named(flowkit_runtime: Runtime, call: Any, field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        call(flowkit_runtime)
