"""Workers: they go on until they are told to stop, and finish or give back what is in flight."""

from __future__ import annotations

import _thread
import asyncio
import socket
import threading
from datetime import timedelta
from typing import Any

import pytest

from flowkit import ConfigError, Event, Retry, RunBuilder, Runtime, StepContext, executor
from flowkit.model.worker import WorkerInfo
from flowkit.runtime.executing import serve_only, takers
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import (
    LEASE_SECONDS,
    Meeting,
    echo,
    eventually,
    in_background,
    outcomes,
    register,
    standing,
    start,
)


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
    flowkit_runtime.shutdown(grace=timedelta(seconds=5))
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
        (lambda rt: rt.drain(timeout=float("nan")), "timeout"),
        (lambda rt: rt.start_workers(max_cycles=1, stop=5), "stop"),
        (lambda rt: start(rt, lambda run: run.step("a", echo, 1), echo).wait(timeout="soon"), "timeout"),
        (lambda rt: rt.pause_queue(""), "name"),
        (lambda rt: rt.pause_queue("a b"), "name"),
    ],
)
def test_an_argument_out_of_range_is_named(flowkit_runtime: Runtime, call: Any, field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        call(flowkit_runtime)


def test_a_shutdown_just_before_the_workers_begin_is_not_lost(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, "hi"), echo)
    flowkit_runtime.shutdown()
    flowkit_runtime.start_workers()
    assert run.status() == "pending"

    with flowkit_runtime.workers():
        assert run.wait(30).status == "succeeded"


def test_whoever_stops_a_worker_may_lose_patience(flowkit_runtime: Runtime, meeting: Meeting) -> None:
    @executor("slow")
    def slow() -> None:
        meeting.wait()

    run = start(flowkit_runtime, lambda run: run.step("a", slow), slow)
    worker = in_background(flowkit_runtime.start_workers)
    meeting.expect()
    flowkit_runtime.shutdown(grace=3600)
    flowkit_runtime.shutdown(grace=0)
    worker.join(30)
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "released")]
    meeting.let_go()


def test_a_block_that_raised_does_not_wait_for_a_clock_that_nobody_moves(
    flowkit_runtime: Runtime, meeting: Meeting
) -> None:
    @executor("slow")
    def slow() -> None:
        meeting.wait()

    run = start(flowkit_runtime, lambda run: run.step("a", slow), slow)
    with pytest.raises(ZeroDivisionError), flowkit_runtime.workers():
        meeting.expect()
        flowkit_runtime.shutdown(grace=0.2)
        raise ZeroDivisionError
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "released")]
    meeting.let_go()


def test_a_signal_handler_may_stop_the_workers_whatever_it_interrupts(
    flowkit_runtime: Runtime, meeting: Meeting
) -> None:
    """It interrupts the main thread, here while that holds the lock of the event on which the workers wait."""

    @executor("slow")
    def slow() -> None:
        meeting.wait()

    start(flowkit_runtime, lambda run: run.step("a", slow), slow)
    worker = in_background(flowkit_runtime.start_workers)
    meeting.expect()
    (crew,) = flowkit_runtime._parts.crews
    with crew.wake._cond:  # type: ignore[attr-defined]
        flowkit_runtime.shutdown(grace=0)
    worker.join(30)
    assert not worker.is_alive()
    meeting.let_go()


def test_workers_of_some_queues_leave_the_steps_of_others_alone(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    register(flowkit_runtime, echo)
    run = start(
        flowkit_runtime, lambda run: [run.step("near", echo, 1), run.step("far", echo, 2, queue="far")]
    )
    other = open_runtime(echo)
    serve_only(other, ["default"])
    with other.workers():
        eventually(lambda: standing(flowkit_runtime, run.id)["near"] == "succeeded")
        assert [worker.queues for worker in flowkit_runtime.stats().workers] == [("default",)]
        assert takers(flowkit_runtime, run.id) == ()
        explained = flowkit_runtime.explain(run.id, "far")
        assert (explained.status, explained.reason) == ("ready", "unserved")
    with flowkit_runtime.workers():
        assert run.wait(30).status == "succeeded"


def test_what_no_queue_can_be_called_is_refused(flowkit_runtime: Runtime) -> None:
    with pytest.raises(ConfigError, match="queues: expected no spaces"):
        serve_only(flowkit_runtime, ["a b"])


def test_a_worker_that_something_ended_holds_no_lease_for_ever(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    @executor("slow")
    def slow(step: StepContext) -> str:
        if step.attempt == 1:
            meeting.wait()
            told.append(step.canceled)
        return "by another worker"

    def leave(event: Event) -> None:
        if event.name == "step_leased" and event.step_id == "next":
            raise SystemExit

    def describe(run: RunBuilder) -> None:
        run.step("slow", slow)
        run.step("next", echo, 1, delay=1)

    told: list[bool] = []
    ended: list[Any] = []
    runtime, other = open_runtime(slow, echo, observers=[leave]), open_runtime(slow, echo)
    run = start(runtime, describe)
    worker = in_background(lambda: ended.append(pytest.raises(SystemExit, runtime.start_workers)))
    meeting.expect()
    flowkit_clock.advance(1)
    worker.join(30)
    assert len(ended) == 1

    def is_done_by_another() -> bool:
        flowkit_clock.advance(LEASE_SECONDS / 5)
        other.run_once()
        return run.status() == "succeeded"

    eventually(is_done_by_another)
    meeting.let_go()
    eventually(lambda: told)
    assert told == [True]


def refuse_threads(monkeypatch: pytest.MonkeyPatch, name: str, times: int = 1) -> list[str]:
    """Have the system refuse the first threads whose names begin so; returns the list of those that it has refused."""
    refused: list[str] = []
    begin = threading.Thread.start

    def starting(thread: threading.Thread) -> None:
        if thread.name.startswith(name) and len(refused) < times:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", starting)
    return refused


def test_a_thread_beside_others_that_the_system_refuses_is_asked_for_again(
    flowkit_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    both = threading.Barrier(2)

    @executor("meets")
    def meets() -> str:
        both.wait(timeout=60)
        return "met"

    refused = refuse_threads(monkeypatch, "flowkit-thread-2", times=3)
    run = start(flowkit_runtime, lambda run: (run.step("a", meets), run.step("b", meets))[1], meets)
    with flowkit_runtime.workers():
        assert run.result() == "met"
    assert len(refused) == 3
    assert [record.getMessage().count("threads_refused") for record in caplog.records if "refused" in record.msg] == [1]


def test_ctrl_c_while_a_thread_begins_leaves_one_that_is_made_beside_what_hangs(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    @executor("hangs", timeout=1, retry=Retry(max_attempts=1))
    def hangs() -> None:
        flowkit_clock.advance(2)
        let_go.wait(60)

    @executor("quick", timeout=3600)
    def quick() -> str:
        return "done"

    def starting(thread: threading.Thread) -> None:
        begin(thread)
        if thread.name == "flowkit-thread-1" and not interrupted:
            interrupted.append(thread.name)
            raise KeyboardInterrupt

    let_go, interrupted = threading.Event(), list[str]()
    begin = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", starting)
    first = start(flowkit_runtime, lambda run: run.step("a", hangs), hangs)
    with pytest.raises(KeyboardInterrupt):
        flowkit_runtime.drain()
    flowkit_runtime.drain()
    second = start(flowkit_runtime, lambda run: run.step("a", quick), quick)
    flowkit_runtime.drain()
    let_go.set()
    assert (first.status(), second.result()) == ("failed", "done")


@pytest.mark.parametrize("name", ["flowkit-keeper", "flowkit-loop", "flowkit-thread"])
def test_a_thread_that_the_system_refuses_once_is_asked_for_again(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    @executor("waits", timeout=3600)
    def waits(step: StepContext) -> str:
        until = step.lease.expires_at
        flowkit_clock.advance(LEASE_SECONDS / 2)
        eventually(lambda: (step.step.lease_expires_at or 0) > until)
        return "its lease was extended"

    @executor("awaits")
    async def awaits(step: StepContext, *, said: str) -> str:
        return said

    refuse_threads(monkeypatch, name)
    run = start(flowkit_runtime, lambda run: run.step("b", awaits, said=run.step("a", waits)), waits, awaits)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        flowkit_runtime.drain()
    flowkit_runtime.drain()
    assert (run.status(), run.result("b")) == ("succeeded", "its lease was extended")
