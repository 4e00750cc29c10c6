"""Waiting for a run: woken by what happens, in this process or another; and told when nobody will ever do it."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from flowkit import (
    ConfigError,
    Event,
    RunBuilder,
    RunCanceled,
    RunFailed,
    RunNotFound,
    Runtime,
    StepContext,
    StepNotFound,
    WaitTimeout,
    chain,
    executor,
)
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, echo, eventually, fail, in_background, standing, start


def waiting(call: Any) -> tuple[threading.Thread, list[Any]]:
    """Call something that waits in the background, and keep what it gives or raises."""
    found: list[Any] = []

    def wait() -> None:
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    return in_background(wait), found


def test_a_wait_ends_when_the_run_ends_in_this_process(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime(echo, poll_interval=3600)
    run = start(runtime, lambda run: run.step("a", echo, 1))
    thread, found = waiting(run.wait)
    runtime.drain()
    thread.join(30)
    assert [one.status for one in found] == ["succeeded"]


def test_a_wait_ends_when_the_run_ends_in_another_process(open_runtime: OpenRuntime) -> None:
    runtime, other = open_runtime(echo, poll_interval=3600), open_runtime(echo)
    run = start(runtime, lambda run: run.step("a", echo, 1))
    thread, found = waiting(run.result)
    other.drain()
    thread.join(30)
    assert found == [1]


def test_a_wait_ends_when_the_run_is_canceled(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime(echo, poll_interval=3600)
    run = start(runtime, lambda run: run.step("a", echo, 1))
    thread, found = waiting(run.result)
    runtime.cancel_run(run.id)
    thread.join(30)
    assert [type(error) for error in found] == [RunCanceled]


def test_a_wait_takes_no_longer_than_it_may(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    thread, found = waiting(lambda: run.wait(timeout=2))
    # The wait may not have begun yet when the clock is moved, so it is moved until it has.
    eventually(lambda: flowkit_clock.advance(1) or found)
    thread.join(30)
    assert isinstance(found[0], WaitTimeout)
    assert isinstance(found[0], TimeoutError)
    assert run.status() == "pending"


def test_a_timeout_of_zero_only_looks(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    with pytest.raises(WaitTimeout):
        run.wait(timeout=0)
    flowkit_runtime.drain()
    assert run.wait(timeout=0).status == "succeeded"


@pytest.mark.parametrize("endless", [float("inf"), 10**400], ids=["infinite", "no float"])
def test_a_timeout_beyond_all_bounds_is_none(flowkit_runtime: Runtime, endless: float) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    thread, found = waiting(lambda: run.wait(timeout=endless).status)
    assert flowkit_runtime.drain(timeout=endless).succeeded == 1
    thread.join(30)
    assert found == ["succeeded"]


def test_waiting_for_a_failed_run_raises_only_where_its_result_is_asked_for(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", fail), fail)
    flowkit_runtime.drain()
    assert run.wait().status == "failed"
    with pytest.raises(RunFailed) as failed:
        run.result()
    assert {step: error.code for step, error in failed.value.errors.items()} == {"a": "broken"}


def test_the_result_of_a_step_that_is_not_there_is_refused(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("index", echo, 1), echo)
    flowkit_runtime.drain()
    with pytest.raises(StepNotFound, match="did you mean 'index'"):
        run.result("indx")


def test_an_output_of_a_step_that_never_came_is_told_as_the_entrypoints(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("summary", echo, 1)
        run.output = "sumary"

    run = start(flowkit_runtime, describe, echo)
    flowkit_runtime.drain()
    named = "no step 'sumary', which its entrypoint named as the run's output; did you mean 'summary'"
    with pytest.raises(StepNotFound, match=named):
        run.result()


def test_a_timeout_that_is_given_for_an_id_is_refused_before_it_is_waited(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    with pytest.raises(ConfigError, match="step_id: expected a str, got 5; seconds to wait are timeout=5"):
        run.result(5)  # type: ignore[arg-type]


def test_after_five_seconds_without_a_worker_a_warning_says_so_once(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, log: list[Any]
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    thread, found = waiting(run.wait)
    eventually(lambda: flowkit_clock.advance(1) or [one for one in log if one["event"] == "no_worker_serves"])
    flowkit_clock.advance(60)
    flowkit_runtime.drain()
    thread.join(30)
    warnings = [one for one in log if one["event"] == "no_worker_serves"]
    assert [(one["log_level"], one["run_id"], one["kinds"]) for one in warnings] == [("warning", run.id, ["echo"])]
    assert "start_workers" in warnings[0]["hint"]
    assert found


def test_no_warning_is_given_while_a_worker_serves_the_kind(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime, flowkit_clock: FakeClock, log: list[Any]
) -> None:
    other = open_runtime(echo)
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1, delay=60), echo)
    with other.workers():
        eventually(lambda: other.stats().workers)
        thread, found = waiting(run.wait)
        eventually(lambda: flowkit_clock.advance(5) or found)
        thread.join(30)
    assert [one for one in log if one["event"] == "no_worker_serves"] == []


@pytest.mark.parametrize("twin", [False, True], ids=["blocking", "awaited"])
def test_who_begins_to_wait_for_a_run_that_was_retried_is_not_told_of_the_end_before(
    open_runtime: OpenRuntime, meeting: Meeting, twin: bool
) -> None:
    @executor("frail")
    def frail(step: StepContext) -> None:
        if not waits:
            fail(step)
        meeting.wait()

    def again(event: Event) -> None:
        if event.name == "run_finished" and not waits:
            runtime.retry_run(run.id)
            waits.append(waiting((lambda: asyncio.run(awaited())) if twin else run.wait))
            eventually(lambda: runtime._parts.wakeups._runs)

    async def awaited() -> Any:
        return await (await runtime.aio.handle(run.id)).wait()

    waits: list[tuple[threading.Thread, list[Any]]] = []
    runtime = open_runtime(frail, observers=[again], poll_interval=3600)
    run = start(runtime, lambda run: run.step("a", frail))
    with runtime.workers():
        meeting.expect()
        meeting.let_go()
        ((thread, found),) = waits
        thread.join(30)
    assert [one.status for one in found] == ["succeeded"]


def test_a_handle_on_a_run_that_is_there_waits_like_the_one_that_started_it(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo, name="my run")
    handle = open_runtime().handle(run.id)
    assert (handle.id, handle.package, handle.name, handle.created) == (run.id, "story", "my run", False)
    flowkit_runtime.drain()
    assert handle.result() == 1


def test_a_handle_on_a_run_that_is_not_there_is_refused(flowkit_runtime: Runtime) -> None:
    with pytest.raises(RunNotFound):
        flowkit_runtime.handle("nobody")
    assert flowkit_runtime.workflow("nobody") is None


def test_waiting_for_a_run_that_was_pruned_is_refused(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    flowkit_runtime.drain()
    flowkit_clock.advance(1)
    assert flowkit_runtime.prune(older_than=0) == 1
    with pytest.raises(RunNotFound):
        run.wait()


def test_the_result_of_a_step_is_there_as_soon_as_it_has_succeeded(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    @executor("slow")
    def slow(step: StepContext) -> None:
        meeting.wait()

    def describe(run: RunBuilder) -> None:
        chain(run.step("quick", echo, 7), run.step("slow", slow))

    run = start(flowkit_runtime, describe, echo, slow)
    with flowkit_runtime.workers():
        meeting.expect()
        assert run.result("quick", timeout=timedelta(seconds=30)) == 7
        assert asyncio.run(awaited(flowkit_runtime, run.id)) == 7
        assert run.status() == "running"
        flowkit_clock.advance(timedelta(seconds=1))
        meeting.let_go()
        assert run.wait(30).status == "succeeded"


async def awaited(runtime: Runtime, run_id: str) -> Any:
    return await (await runtime.aio.handle(run_id)).result("quick", int, timeout=30)


def test_of_a_step_that_fails_the_end_of_its_run_is_waited_for(flowkit_runtime: Runtime, meeting: Meeting) -> None:
    @executor("slow")
    def slow(step: StepContext) -> None:
        meeting.wait()

    def describe(run: RunBuilder) -> None:
        run.step("bad", fail)
        run.step("slow", slow)

    run = start(flowkit_runtime, describe, fail, slow)
    with flowkit_runtime.workers():
        meeting.expect()
        eventually(lambda: standing(flowkit_runtime, run.id)["bad"] == "failed")
        thread, answers = waiting(lambda: run.result("bad"))
        meeting.let_go()
        thread.join(30)
    assert isinstance(answers[0], RunFailed)
