"""What a program keeps in context variables, as whose request it is at, reaches no executor of somebody else's run."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from flowkit import RunBuilder, Runtime, StepContext, StepHandle, executor
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import eventually, start

who: ContextVar[str] = ContextVar("who", default="nobody")


@executor("threaded")
def threaded(step: StepContext, input: str) -> str:
    found = who.get()
    who.set(input)
    return found


@executor("awaited")
async def awaited(step: StepContext, input: str) -> str:
    return threaded(step, input)


@executor("timed", timeout=30)
def timed(step: StepContext, input: str) -> str:
    return threaded(step, input)


EXECUTORS: dict[str, Any] = {"threaded": threaded, "awaited": awaited, "timed": timed}


IN_EVERY_ORDER = [threaded, threaded, awaited, awaited, timed, timed, threaded, timed, awaited, threaded]


def one_after_another(run: RunBuilder) -> None:
    after: list[Any] = []
    for number, one in enumerate(IN_EVERY_ORDER):
        after = [run.step(str(number), one, f"step {number}", after=after)]


def test_what_an_executor_sets_is_not_there_for_the_next_one(open_runtime: OpenRuntime) -> None:
    runtime = open_runtime(max_workers=1)
    with runtime.workers():
        run = start(runtime, one_after_another, *EXECUTORS.values())
        assert run.wait(30).status == "succeeded"
    assert {run.result(str(number)) for number, _ in enumerate(IN_EVERY_ORDER)} == {"nobody"}


def test_what_an_executor_sets_in_a_pass_is_not_there_afterwards(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, one_after_another, *EXECUTORS.values())
    flowkit_runtime.drain()
    assert {run.result(str(number)) for number, _ in enumerate(IN_EVERY_ORDER)} == {"nobody"}
    assert who.get() == "nobody"


@pytest.mark.parametrize("kind", EXECUTORS)
def test_whoever_starts_a_run_lends_it_no_context(open_runtime: OpenRuntime, kind: str) -> None:
    """The thread that starts a run leases its first steps, and perhaps others, where the worker rests."""
    events: list[str] = []
    runtime = open_runtime(*EXECUTORS.values(), observers=[lambda event: events.append(f"{event.name} {who.get()}")])
    def describe(run: RunBuilder) -> StepHandle[str]:
        return run.step("only", EXECUTORS[kind], "step")

    def request() -> list[Any]:
        who.set("Ann")
        return [start(runtime, describe).result(timeout=30) for _ in range(3)]

    with runtime.workers():
        eventually(lambda: "idle nobody" in events)
        assert copy_context().run(request) == ["nobody"] * 3
    assert {event for event in events if event.startswith(("step_leased", "step_succeeded"))} == {
        "step_leased nobody",
        "step_succeeded nobody",
    }
