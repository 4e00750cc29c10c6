"""``rt.aio``: every read and command of a Runtime inside an event loop, which none of them blocks."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import pytest
import structlog

from flowkit import (
    AsyncRuntime,
    ConfigError,
    InvalidTransition,
    RunBuilder,
    RunFailed,
    Runtime,
    StepContext,
    WaitTimeout,
    executor,
)
from flowkit.testing import FakeClock
from tests.places import Place
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, echo, eventually, fail, register, start

SYNC_ONLY = {"discover", "register_executor", "register_package"}
"""What a program does before it works; it opens nothing that could block for long."""


def callables(cls: type) -> set[str]:
    """Return the public methods of a class, and properties that give one."""
    return {
        name
        for name, value in inspect.getmembers(cls)
        if not name.startswith("_") and (callable(value) or name in ("start_run", "start_runs", "run"))
    }


def test_every_method_has_its_async_twin_and_no_twin_is_alone() -> None:
    assert callables(AsyncRuntime) == callables(Runtime) - SYNC_ONLY


def test_the_twins_take_the_same_arguments() -> None:
    for name in sorted(callables(AsyncRuntime) - {"start_run", "start_runs", "run", "start_workers", "workers"}):
        twin, method = getattr(AsyncRuntime, name), getattr(Runtime, name)
        assert list(inspect.signature(twin).parameters) == list(inspect.signature(method).parameters), name


@pytest.mark.parametrize("call", ["run_once", "drain", "run", "start_workers"])
def test_executing_steps_inside_a_running_event_loop_points_to_the_twin(flowkit_runtime: Runtime, call: str) -> None:
    start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)

    async def inside() -> None:
        with pytest.raises(ConfigError, match=rf"rt\.aio\.{call}\(\)"):
            getattr(flowkit_runtime, call)(*(["story"] if call == "run" else []))

    asyncio.run(inside())


@pytest.mark.parametrize("call", ["wait", "result"])
def test_a_handle_that_would_block_a_running_event_loop_points_to_the_twin(flowkit_runtime: Runtime, call: str) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)

    async def inside() -> None:
        for options in ({}, {"timeout": 60}):
            with pytest.raises(ConfigError, match=rf"await rt\.aio\.handle\('{run.id}'\)"):
                getattr(run, call)(**options)
        with pytest.raises(WaitTimeout):
            getattr(run, call)(timeout=0)

    asyncio.run(inside())


def test_a_handle_gives_inside_an_event_loop_what_is_there_already(flowkit_runtime: Runtime) -> None:
    async def inside() -> None:
        run = start(flowkit_runtime, lambda run: [run.step("a", echo, 1), run.step("b", echo, 2, delay=60)], echo)
        await flowkit_runtime.aio.drain()
        assert run.result("a") == 1
        with pytest.raises(ConfigError, match="block the running event loop"):
            run.result("b")
        await flowkit_runtime.aio.cancel_run(run.id)
        assert run.wait().status == "canceled"

    asyncio.run(inside())


def test_a_run_is_started_executed_and_waited_for_inside_an_event_loop(flowkit_runtime: Runtime) -> None:
    @executor("soon")
    async def soon(step: StepContext, input: int) -> int:
        await asyncio.sleep(0)
        return input * 2

    start(flowkit_runtime, lambda run: run.step("a", soon, 21), soon)

    async def inside() -> Any:
        aio = flowkit_runtime.aio
        async with aio.workers() as same:
            assert same is aio
            run = await aio.start_run("story", name="async")
            assert (run.package, run.name, run.created) == ("story", "async", True)
            assert (await run.wait(timeout=30)).status == "succeeded"
            assert await run.status() == "succeeded"
            others = await aio.start_runs("story", [None, None])
            return [await one.result(timeout=30) for one in (run, *others)]

    assert asyncio.run(inside()) == [42, 42, 42]


def test_reads_and_commands_give_what_their_twins_give(flowkit_runtime: Runtime) -> None:
    async def inside() -> None:
        aio, run = flowkit_runtime.aio, start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
        assert await aio.workflow("nobody") is None
        assert (await aio.cancel_run(run.id)).status == "canceled"
        assert (await aio.retry_step(run.id, "a")).status == "ready"
        assert (await aio.run_once()).succeeded == 1
        assert (await aio.drain()).processed == 0
        assert await (await aio.handle(run.id)).result() == 1
        result = await aio.result(run.id, "a", int)
        assert result is not None
        assert result.data == 1
        assert [one.id for one in await aio.runs(status="succeeded")] == [run.id]
        assert await aio.steps(run.id) == flowkit_runtime.steps(run.id)
        assert await aio.step(run.id, "a") == flowkit_runtime.step(run.id, "a")
        assert await aio.attempts(run.id, "a") == flowkit_runtime.attempts(run.id, "a")
        assert await aio.history(run.id) == flowkit_runtime.history(run.id)
        assert await aio.queues() == flowkit_runtime.queues()
        assert (await aio.explain(run.id, "a")).status == "succeeded"
        await aio.pause_queue("default")
        await aio.resume_queue("default")
        assert (await aio.run("story")).created
        assert await aio.prune(older_than=-0.0) == 0
        await aio.close()

    asyncio.run(inside())


def test_errors_are_the_same(flowkit_runtime: Runtime) -> None:
    async def inside() -> None:
        run = await flowkit_runtime.aio.run("story")
        with pytest.raises(RunFailed):
            await run.result()

    start(flowkit_runtime, lambda run: run.step("a", fail), fail)
    asyncio.run(inside())


def test_an_event_loop_waits_no_longer_than_it_may(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)

    async def inside() -> None:
        run = await flowkit_runtime.aio.start_run("story")
        with pytest.raises(WaitTimeout):
            await run.wait(timeout=0)
        with pytest.raises(ConfigError, match="timeout"):
            await run.wait(timeout="soon")  # type: ignore[arg-type]

    asyncio.run(inside())


def test_a_wait_in_an_event_loop_ends_when_the_run_ends_here_or_elsewhere(open_runtime: OpenRuntime) -> None:
    here, elsewhere = open_runtime(echo, poll_interval=3600), open_runtime(echo)
    start(here, lambda run: run.step("a", echo, 1))

    async def inside() -> None:
        for worker in (here, elsewhere):
            run = await here.aio.start_run("story")
            waiting = asyncio.ensure_future(run.wait())
            while not here._parts.wakeups._runs:
                await asyncio.sleep(0)
            await worker.aio.drain()
            assert (await asyncio.wait_for(waiting, 30)).status == "succeeded"

    asyncio.run(inside())


def test_an_event_loop_is_warned_too_when_nobody_serves_what_it_waits_for(
    open_runtime: OpenRuntime, flowkit_clock: FakeClock
) -> None:
    runtime = open_runtime(echo, poll_interval=0.001)
    start(runtime, lambda run: run.step("a", echo, 1))

    async def inside() -> None:
        run = await runtime.aio.start_run("story")
        waiting = asyncio.ensure_future(run.wait())
        with structlog.testing.capture_logs() as log:
            structlog.configure(processors=structlog.get_config()["processors"])
            while not log:
                flowkit_clock.advance(1)
                await asyncio.sleep(0.001)
        structlog.reset_defaults()
        assert [one["event"] for one in log if one["log_level"] == "warning"] == ["no_worker_serves"]
        await runtime.aio.drain()
        assert (await waiting).status == "succeeded"

    asyncio.run(inside())


def test_an_event_loop_never_waits_for_a_transaction_of_its_own(sound: Place) -> None:
    program = sound.program()
    with Runtime(sound.joined(program), entry_points=False) as runtime:
        register(runtime, echo)

        async def inside() -> None:
            with program.atomic():
                run = start(runtime, lambda run: run.step("a", echo, 1))
                handle = await runtime.aio.handle(done.id)
                assert (await handle.wait(timeout=30)).status == "succeeded"
                with pytest.raises(InvalidTransition, match="not committed yet"):
                    await type(handle)(runtime, run).wait(timeout=30)

        done = start(runtime, lambda run: run.step("a", echo, 1))
        runtime.drain()
        asyncio.run(inside())
    program.close()


def test_a_worker_task_that_is_canceled_stops_the_workers(flowkit_runtime: Runtime) -> None:
    async def inside() -> None:
        for turns in range(4):
            task = asyncio.ensure_future(flowkit_runtime.aio.start_workers())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 30)

    asyncio.run(inside())


def test_the_loop_goes_on_while_a_run_is_executed(flowkit_runtime: Runtime) -> None:
    order: list[str] = []
    tick: list[asyncio.Event] = []

    @executor("slow")
    async def slow(step: StepContext) -> None:
        loops[0].call_soon_threadsafe(tick[0].set)

    loops: list[asyncio.AbstractEventLoop] = []
    start(flowkit_runtime, lambda run: run.step("a", slow), slow)

    async def inside() -> None:
        loops.append(asyncio.get_running_loop())
        tick.append(asyncio.Event())
        running = asyncio.ensure_future(flowkit_runtime.aio.run("story"))
        await tick[0].wait()
        order.append("the loop went on")
        await running

    asyncio.run(inside())
    assert order == ["the loop went on"]


@pytest.mark.parametrize("turns", range(4))
def test_workers_whose_task_is_canceled_while_they_begin_are_stopped(flowkit_runtime: Runtime, turns: int) -> None:
    async def main() -> None:
        async def work() -> None:
            async with flowkit_runtime.aio.workers():
                await asyncio.Event().wait()

        task = asyncio.ensure_future(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [thread.name for thread in threading.enumerate() if thread.name == "flowkit-worker"] == []
    with flowkit_runtime.workers():
        pass


def test_a_task_that_is_canceled_while_its_workers_stop_is_canceled_once_they_have(
    flowkit_runtime: Runtime, meeting: Meeting
) -> None:
    """As by a timeout around it all, or by Ctrl-C: what comes after the block would go on without an end."""

    @executor("slow")
    def slow(step: StepContext) -> str:
        meeting.wait()
        return "done"

    run = start(flowkit_runtime, lambda run: run.step("a", slow), slow)

    async def work() -> None:
        async with flowkit_runtime.aio.workers():
            await asyncio.to_thread(meeting.expect)
            asyncio.get_running_loop().call_soon(leave)
        await asyncio.Event().wait()

    def leave() -> None:
        task[0].cancel()
        meeting.let_go()

    async def main() -> None:
        task.append(asyncio.ensure_future(work()))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task[0]), 30)

    task: list[asyncio.Task[None]] = []
    asyncio.run(main())
    assert run.result() == "done"


@pytest.mark.parametrize("how", ["stop", "exit"])
def test_an_async_executor_that_stops_its_loop_ends_no_other(flowkit_runtime: Runtime, how: str) -> None:
    async def leave() -> None:
        raise SystemExit

    @executor("stops")
    async def stops(step: StepContext) -> None:
        loop = asyncio.get_running_loop()
        if how == "stop":
            loop.stop()
        else:
            stray.append(asyncio.ensure_future(leave()))
        await asyncio.sleep(0.01)

    stray: list[Any] = []

    @executor("goes_on")
    async def goes_on(n: int) -> int:
        await asyncio.sleep(0.01)
        return n

    def describe(run: RunBuilder) -> Any:
        return run.step("after", goes_on, 7, after=run.step("stops", stops))

    run = start(flowkit_runtime, describe, stops, goes_on)
    with flowkit_runtime.workers():
        assert run.wait(30).status == "succeeded"
        assert run.result("after") == 7
    for task in stray:
        with pytest.raises(SystemExit):
            task.result()


def test_a_run_whose_task_is_canceled_while_it_waits_goes_on_with_the_next_worker(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, 7), echo)
    flowkit_runtime.drain()
    flowkit_runtime.pause_queue("default")

    async def inside() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(flowkit_runtime.aio.run("story", run_id="waits"), 0.2)

    # It ends only when the thread does that executed the run.
    asyncio.run(inside())
    assert flowkit_runtime.handle("waits").status() == "pending"
    flowkit_runtime.resume_queue("default")
    flowkit_runtime.drain()
    assert (run.result(), flowkit_runtime.handle("waits").result()) == (7, 7)


def test_a_call_whose_task_is_canceled_is_over_when_the_loop_is(
    flowkit_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program closes its store when ``asyncio.run`` has returned."""
    began, loop_ends, has_returned = threading.Event(), threading.Event(), threading.Event()
    too_late: list[bool] = []
    shut_down = asyncio.BaseEventLoop.shutdown_default_executor

    def slow() -> None:
        began.set()
        loop_ends.wait(30)
        too_late.append(has_returned.wait(0.2))

    async def ends(loop: asyncio.BaseEventLoop, *arguments: Any) -> None:
        loop_ends.set()
        await shut_down(loop, *arguments)

    async def inside() -> None:
        task = asyncio.create_task(flowkit_runtime.aio.stats())
        while not began.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr(flowkit_runtime, "stats", slow)
    monkeypatch.setattr(asyncio.BaseEventLoop, "shutdown_default_executor", ends)
    asyncio.run(inside())
    has_returned.set()
    assert too_late == [False]


class Closing(asyncio.SelectorEventLoop):
    """A loop that another thread closes at once after it was seen to be open."""

    is_gone = False

    def call_soon_threadsafe(self, *arguments: Any, **options: Any) -> Any:
        if self.is_gone:
            raise RuntimeError("Event loop is closed")
        return super().call_soon_threadsafe(*arguments, **options)


def test_a_loop_that_is_closed_while_a_run_is_waited_for_there_stops_no_worker(
    open_runtime: OpenRuntime, meeting: Meeting
) -> None:
    @executor("slow")
    def slow(step: StepContext) -> int:
        meeting.wait()
        return 1

    async def wait() -> None:
        await (await runtime.aio.handle(run.id)).wait()

    runtime, loop = open_runtime(slow), Closing()
    run = start(runtime, lambda run: run.step("a", slow))
    waiting = loop.create_task(wait())
    with runtime.workers():
        while not runtime._parts.wakeups._runs:
            loop.run_until_complete(asyncio.sleep(0))
        loop.is_gone = True
        meeting.let_go()
        following = runtime.start_run("story")
        eventually(lambda: run.status() == following.status() == "succeeded")

    loop.is_gone = False
    waiting.cancel()
    loop.run_until_complete(asyncio.wait([waiting]))
    loop.close()
