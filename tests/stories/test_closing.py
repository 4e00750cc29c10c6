"""Closing a Runtime: once or often, while it works or not; afterwards every call says that it is closed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from flowkit import DiscoveryError, Event, InvalidTransition, Runtime, RuntimeClosed, StepContext, executor
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, echo, eventually, in_background, outcomes, standing, start

CALLS: dict[str, Any] = {
    "start_run": lambda rt: rt.start_run("story"),
    "start_runs": lambda rt: rt.start_runs("story", [None]),
    "run": lambda rt: rt.run("story"),
    "run_once": lambda rt: rt.run_once(),
    "drain": lambda rt: rt.drain(),
    "start_workers": lambda rt: rt.start_workers(),
    "workers": lambda rt: rt.workers().__enter__(),
    "handle": lambda rt: rt.handle("run"),
    "workflow": lambda rt: rt.workflow("run"),
    "runs": lambda rt: rt.runs(),
    "steps": lambda rt: rt.steps("run"),
    "step": lambda rt: rt.step("run", "a"),
    "attempts": lambda rt: rt.attempts("run", "a"),
    "history": lambda rt: rt.history("run"),
    "stats": lambda rt: rt.stats(),
    "queues": lambda rt: rt.queues(),
    "result": lambda rt: rt.result("run", "a"),
    "records": lambda rt: rt.records("run", collection="c"),
    "artifact": lambda rt: rt.artifact("run", "a"),
    "projection": lambda rt: rt.projection("p"),
    "explain": lambda rt: rt.explain("run", "a"),
    "retry_step": lambda rt: rt.retry_step("run", "a"),
    "retry_run": lambda rt: rt.retry_run("run"),
    "cancel_run": lambda rt: rt.cancel_run("run"),
    "pause_queue": lambda rt: rt.pause_queue("default"),
    "resume_queue": lambda rt: rt.resume_queue("default"),
    "prune": lambda rt: rt.prune(older_than=0),
    "discover": lambda rt: rt.discover("tests.stories.telling"),
    "register_executor": lambda rt: rt.register_executor(echo),
    "register_package": lambda rt: rt.register_package(echo),
    "with": lambda rt: rt.__enter__(),
    "aio": lambda rt: asyncio.run(rt.aio.runs()),
}


@pytest.fixture
def closed(open_runtime: OpenRuntime) -> Runtime:
    runtime = open_runtime(echo)
    start(runtime, lambda run: run.step("a", echo, 1), run_id="run")
    runtime.close()
    return runtime


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_of_a_closed_runtime_is_refused(closed: Runtime, call: Any) -> None:
    with pytest.raises(RuntimeClosed):
        call(closed)


def test_the_handle_of_a_closed_runtime_is_refused_too(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime(echo)
    run = start(runtime, lambda run: run.step("a", echo, 1))
    runtime.close()
    for ask in (run.wait, run.result, run.status):
        with pytest.raises(RuntimeClosed):
            ask()


def test_closing_again_does_nothing(closed: Runtime) -> None:
    closed.close()
    asyncio.run(closed.aio.close())
    closed.shutdown()


def test_closing_ends_the_workers_and_gives_back_what_they_held(open_runtime: OpenRuntime, meeting: Meeting) -> None:
    @executor("slow")
    def slow(step: StepContext) -> str:
        meeting.wait()
        return "done"

    runtime, other = open_runtime(slow), open_runtime(slow)
    run = start(runtime, lambda run: run.step("a", slow))
    worker = in_background(runtime.start_workers)
    meeting.expect()
    runtime.close()
    worker.join(30)
    assert not worker.is_alive()
    assert standing(other, run.id) == {"a": "ready"}
    assert outcomes(other, run.id, "a") == [(1, "released")]
    assert other.stats().workers == ()
    meeting.let_go()
    other.drain()
    assert other.handle(run.id).result() == "done"


def test_closing_while_somebody_waits_ends_the_wait(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime(echo, poll_interval=3600)
    run = start(runtime, lambda run: run.step("a", echo, 1))
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            run.wait()
        except BaseException as error:
            errors.append(error)

    waiting = in_background(wait)
    eventually(lambda: runtime._parts.wakeups._runs)
    runtime.close()
    waiting.join(30)
    assert [type(error) for error in errors] == [RuntimeClosed]


def test_an_observer_cannot_close_the_runtime_whose_worker_calls_it(open_runtime: OpenRuntime) -> None:
    errors: list[BaseException] = []

    def close(event: Event) -> None:
        if event.name == "run_finished":
            try:
                runtime.close()
            except InvalidTransition as error:
                errors.append(error)
                runtime.shutdown()

    runtime = open_runtime(echo, observers=[close])
    start(runtime, lambda run: run.step("a", echo, 1))
    runtime.start_workers()
    assert "rt.shutdown()" in str(errors[0])
    runtime.close()


def test_no_thread_is_left_of_a_runtime_that_was_closed(open_runtime: OpenRuntime) -> None:
    @executor("soon", timeout=60)
    async def soon(step: StepContext) -> None: ...

    @executor("thread", timeout=60)
    def thread(step: StepContext) -> None: ...

    before = set(threading.enumerate())
    runtime = open_runtime(echo, soon, thread)
    run = start(runtime, lambda run: [run.step("a", echo, 1), run.step("b", soon), run.step("c", thread)])
    runtime.drain()
    again = start(runtime, lambda run: [run.step("a", echo, 1), run.step("b", soon), run.step("c", thread)])
    with runtime.workers():
        again.wait(timeout=30)
    run.wait()
    runtime.close()
    eventually(lambda: set(threading.enumerate()) <= before)


def test_a_runtime_that_could_not_be_made_leaves_the_store_free(open_runtime: OpenRuntime) -> None:
    with pytest.raises(DiscoveryError):
        open_runtime(modules=["no_such_module"])
    runtime = open_runtime(echo)
    start(runtime, lambda run: run.step("a", echo, 1))
    assert runtime.drain().processed == 1
