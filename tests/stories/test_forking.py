"""A Runtime may be made before ``fork``: the child has connections of its own, and no workers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowkit import Runtime, StepContext, SystemClock, executor
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, echo, eventually, register, start

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork"),
    # Python 3.12 and later warn of a fork beside threads; that it is survived is what is told here.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@executor("async-echo")
async def async_echo(step: StepContext, input: Any) -> Any:
    return input


@executor("timed-echo", timeout=60)
def timed_echo(step: StepContext, input: Any) -> Any:
    return input


def in_child(call: Callable[[], None]) -> None:
    """Call something in a forked child, which must end well."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            call()
            code = 0
        except BaseException as error:
            print(f"in the child: {error!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    ended: list[int] = []

    def is_over() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        ended.extend([os.waitstatus_to_exitcode(status)] if pid else [])
        return bool(pid)

    try:
        eventually(is_over)
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
    assert ended == [0]


@pytest.fixture
def runtime(open_runtime: OpenRuntime) -> Runtime:
    return open_runtime(echo, async_echo, timed_echo, clock=SystemClock())


def test_a_child_awaits_the_runtime_in_threads_of_its_own(runtime: Runtime) -> None:
    async def start_and_finish() -> None:
        run = await runtime.aio.run("story")
        assert await asyncio.wait_for(run.result(), 30) == 1

    start(runtime, lambda run: run.step("a", echo, 1))
    asyncio.run(start_and_finish())
    in_child(lambda: asyncio.run(start_and_finish()))
    asyncio.run(start_and_finish())
    assert [run.status for run in runtime.runs()] == ["succeeded"] * 3 + ["pending"]


@pytest.mark.parametrize("kind", [echo, async_echo, timed_echo], ids=["inline", "loop", "thread"])
def test_child_and_parent_each_start_and_finish_a_run(runtime: Runtime, kind: Any) -> None:
    def start_and_finish() -> None:
        run = start(runtime, lambda run: run.step("a", kind, os.getpid()))
        runtime.drain()
        assert run.result(timeout=30) == os.getpid()

    # Threads and loops that the parent has by now are not in the child.
    start_and_finish()
    in_child(start_and_finish)
    start_and_finish()
    assert [run.status for run in runtime.runs()] == ["succeeded"] * 3


def test_the_child_of_a_program_whose_workers_run_works_with_workers_of_its_own(runtime: Runtime) -> None:
    def work() -> None:
        run = start(runtime, lambda run: run.step("a", async_echo, "child"))
        with runtime.workers():
            assert run.result(timeout=30) == "child"
        runtime.close()

    with runtime.workers():
        run = start(runtime, lambda run: run.step("a", async_echo, "parent"))
        assert run.result(timeout=30) == "parent"
        in_child(work)
        run = start(runtime, lambda run: run.step("a", async_echo, "parent"))
        assert run.result(timeout=30) == "parent"


def test_what_runs_in_the_parent_goes_on_there_and_not_in_the_child(
    runtime: Runtime, meeting: Meeting, tmp_path: Path
) -> None:
    @executor("slow")
    def slow(step: StepContext) -> int:
        with (tmp_path / "pids").open("a") as file:
            file.write(f"{os.getpid()}\n")
        meeting.wait()
        return os.getpid()

    run = start(runtime, lambda run: run.step("a", slow), slow)
    with runtime.workers():
        meeting.expect()
        in_child(lambda: runtime.close())
        meeting.let_go()
        assert run.result(timeout=30) == os.getpid()
    assert (tmp_path / "pids").read_text() == f"{os.getpid()}\n"


def test_a_child_sees_what_the_parent_commits_after_the_fork(runtime: Runtime, tmp_path: Path) -> None:
    told, child = tmp_path / "told", os.fork()
    if child == 0:
        try:
            eventually(told.exists)
            found = runtime.handle("of-the-parent").wait(timeout=30)
            os._exit(0 if found.status == "succeeded" else 2)
        finally:
            os._exit(1)
    start(runtime, lambda run: run.step("a", echo, 1), run_id="of-the-parent")
    told.touch()
    runtime.drain()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_fork_inside_a_program_that_uses_a_store_in_memory_keeps_the_parents_runs() -> None:
    with Runtime("sqlite://", entry_points=False) as runtime:
        register(runtime, echo)
        run = start(runtime, lambda run: run.step("a", echo, 1))
        in_child(lambda: None)
        runtime.drain()
        assert run.result() == 1
