"""What awaits a Runtime holds up nothing else: not the loop, nor its executor, nor other calls of ``rt.aio``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest

from flowkit import Runtime, StepContext, executor
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, echo, eventually, in_background, register, start

who: ContextVar[str] = ContextVar("who", default="nobody")
MOST = 33
"""More threads than these a Runtime never has for its short calls and one that executes steps."""


@pytest.fixture
def runtime(flowkit_runtime: Runtime) -> Runtime:
    """A Runtime with a package ``story``, of which one run has ended."""
    start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    flowkit_runtime.drain()
    return flowkit_runtime


@pytest.fixture
def small_executor() -> Iterator[ThreadPoolExecutor]:
    """What a loop may have for its default executor: a single thread."""
    with ThreadPoolExecutor(1) as threads:
        yield threads


def in_loop(story: Coroutine[Any, Any, None]) -> None:
    """Run a story in an event loop, for 30 seconds at most."""
    asyncio.run(asyncio.wait_for(story, 30))


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("flowkit-aio")]


def test_a_call_that_ends_the_wait_of_many_runs_is_held_up_by_none_of_them(
    runtime: Runtime, small_executor: ThreadPoolExecutor, flowkit_clock: FakeClock
) -> None:
    async def inside() -> None:
        asyncio.get_running_loop().set_default_executor(small_executor)
        await runtime.aio.pause_queue("default")
        tasks = [asyncio.ensure_future(runtime.aio.run("story")) for _ in range(MOST)]
        try:
            while len(await runtime.aio.runs(status="pending")) < MOST:
                await asyncio.sleep(0)
            assert len(own_threads()) <= MOST
        finally:
            await runtime.aio.resume_queue("default")
        flowkit_clock.advance(1)
        for run in await asyncio.gather(*tasks):
            assert await run.result() == 1

    in_loop(inside())


def test_handles_wait_without_a_thread(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime(echo, poll_interval=3600)
    start(runtime, lambda run: run.step("a", echo, 1), echo)

    async def inside() -> None:
        runs = await runtime.aio.start_runs("story", [None] * 200)
        waits = [asyncio.ensure_future(run.result()) for run in runs]
        while len(runtime._parts.wakeups._runs) < len(runs):
            await asyncio.sleep(0)
        await runtime.aio.stats()
        assert len(own_threads()) <= MOST
        async with runtime.aio.workers():
            assert await asyncio.gather(*waits) == [1] * 200

    in_loop(inside())


def test_the_programs_own_blocking_calls_hold_up_no_call_of_the_runtime(
    runtime: Runtime, small_executor: ThreadPoolExecutor, meeting: Meeting
) -> None:
    async def inside() -> None:
        asyncio.get_running_loop().set_default_executor(small_executor)
        blocked = asyncio.ensure_future(asyncio.to_thread(meeting.wait))
        try:
            async with runtime.aio.workers():
                run = await runtime.aio.start_run("story")
                assert await run.result() == 1
            assert not blocked.done()
        finally:
            meeting.let_go()
        await blocked

    in_loop(inside())


def test_calls_are_made_in_the_context_of_who_awaits_them(flowkit_runtime: Runtime) -> None:
    @executor("note")
    def note(step: StepContext, name: str) -> list[str]:
        return [name, who.get()]

    start(flowkit_runtime, lambda run: run.step("a", note, who.get()), note)

    async def inside() -> None:
        who.set("Ada")
        assert await (await flowkit_runtime.aio.run("story")).result() == ["Ada", "Ada"]

    in_loop(inside())


def test_a_run_that_is_canceled_before_its_turn_is_not_begun(flowkit_runtime: Runtime, meeting: Meeting) -> None:
    @executor("meet")
    def meet(step: StepContext) -> None:
        meeting.wait()

    register(flowkit_runtime, meet)
    start(flowkit_runtime, lambda run: run.step("a", meet))
    first = in_background(lambda: flowkit_runtime.run("story", run_id="first"))
    meeting.expect()

    async def inside() -> None:
        for name in ("second", "third"):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(flowkit_runtime.aio.run("story", run_id=name), 0.2)
        meeting.let_go()

    in_loop(inside())
    first.join(30)
    statuses = [flowkit_runtime.handle(name).status() for name in ("first", "second", "third")]
    assert statuses == ["succeeded", "pending", "pending"]


def test_a_loop_ends_when_the_attempt_of_a_canceled_run_has(flowkit_runtime: Runtime, meeting: Meeting) -> None:
    @executor("meet")
    def meet(step: StepContext) -> str:
        meeting.wait()
        return "kept"

    start(flowkit_runtime, lambda run: run.step("a", meet), meet)

    async def inside() -> None:
        running = asyncio.ensure_future(flowkit_runtime.aio.run("story", run_id="canceled"))
        while not meeting.arrived.acquire(blocking=False):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        threading.Timer(0.1, meeting.let_go).start()

    # As a program does on Ctrl-C, which closes its Runtime next.
    in_loop(inside())
    assert flowkit_runtime.step("canceled", "a").status == "succeeded"


def test_no_thread_is_left_when_the_runtime_is_closed(runtime: Runtime) -> None:
    async def inside() -> None:
        assert (await (await runtime.aio.run("story")).wait()).status == "succeeded"
        await runtime.aio.drain()
        async with runtime.aio.workers():
            assert own_threads()
        await runtime.aio.close()

    in_loop(inside())
    eventually(lambda: own_threads() == [])


def test_runs_in_loops_of_several_threads_take_turns_too(runtime: Runtime) -> None:
    def execute() -> None:
        async def inside() -> None:
            assert await (await runtime.aio.run("story")).result() == 1

        in_loop(inside())

    others = [in_background(execute) for _ in range(3)]
    for other in others:
        other.join(30)
    assert [run.status for run in runtime.runs()] == ["succeeded"] * 4
