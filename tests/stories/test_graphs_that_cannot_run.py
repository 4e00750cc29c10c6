"""A graph that could not run is refused when it is declared: nothing is stored, and nothing hangs."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from flowkit import GraphError, Retry, RunBuilder, Runtime, StepContext, executor
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import code_of, echo, standing, start


@executor("join")
def join(step: StepContext, *, parts: list[Any]) -> int:
    return len(parts)


def refused(runtime: Runtime, describe: Any, message: str) -> None:
    """Start a run that is refused with this message, and find nothing stored."""
    with pytest.raises(GraphError, match=message):
        start(runtime, describe, echo, join)
    assert len(runtime.runs()) == 0


def test_a_dependency_on_a_step_that_is_not_there_is_refused(flowkit_runtime: Runtime) -> None:
    refused(flowkit_runtime, lambda run: run.step("a", echo, 1, after="ghost"), "ghost")


def test_a_misspelt_dependency_is_told_the_nearest_id(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("convert", echo, 1)
        run.step("b", echo, 1, after="convrt")

    refused(flowkit_runtime, describe, "convert")


def test_a_cycle_is_refused(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("a", echo, 1, after="c")
        run.step("b", echo, 1, after="a")
        run.step("c", echo, 1, after="b")

    refused(flowkit_runtime, describe, "a")


def test_a_step_that_waits_for_itself_is_refused(flowkit_runtime: Runtime) -> None:
    refused(flowkit_runtime, lambda run: run.step("a", echo, 1, after="a"), "a")


def test_an_id_that_is_declared_twice_is_refused(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("a", echo, 1)
        run.step("a", echo, 2)

    refused(flowkit_runtime, describe, "'a'")


def test_an_entrypoint_that_describes_no_steps_is_refused(flowkit_runtime: Runtime) -> None:
    refused(flowkit_runtime, lambda run: None, "workflow package 'story' entrypoint produced no initial steps")


def test_an_empty_map_alone_is_refused_and_named(flowkit_runtime: Runtime) -> None:
    refused(flowkit_runtime, lambda run: run.map("page", echo, []) and None, "'page'")


def test_a_kind_that_nobody_knows_is_refused_and_the_nearest_one_named(flowkit_runtime: Runtime) -> None:
    refused(flowkit_runtime, lambda run: run.step("a", "ehco", 1), "did you mean 'echo'")


def test_a_blank_kind_is_refused(flowkit_runtime: Runtime) -> None:
    refused(flowkit_runtime, lambda run: run.step("a", " ", 1), "workflow step kind is required")


def test_an_unbound_result_parameter_is_refused(flowkit_runtime: Runtime) -> None:
    refused(flowkit_runtime, lambda run: run.step("a", join), "parts")


@pytest.mark.parametrize(
    ("describe", "code"),
    [
        (lambda step: step.emit("child", echo, 1, after="ghost"), "graph_error"),
        (lambda step: step.emit("child", echo, 1, after="child"), "graph_error"),
        (lambda step: step.emit("child", "nobody", 1), "graph_error"),
        (lambda step: step.emit("child", join), "graph_error"),
        (lambda step: (step.emit("a", echo, 1, after="b"), step.emit("b", echo, 1, after="a")), "graph_error"),
        (lambda step: (step.emit("a", echo, 1), step.emit("a", echo, 1)), "emit_conflict"),
        (lambda step: step.emit("root", echo, 1), "emit_conflict"),
    ],
    ids=["missing", "itself", "unknown kind", "unbound", "cycle", "twice", "taken"],
)
def test_what_cannot_be_emitted_fails_the_emitter_and_not_the_worker(
    flowkit_runtime: Runtime, describe: Any, code: str
) -> None:
    @executor("emitter")
    def emitter(step: StepContext) -> str:
        step.record("marks", "it", 1)
        describe(step)
        return "emitted"

    run = start(flowkit_runtime, lambda run: run.step("root", emitter), emitter, echo, join)
    other = start(flowkit_runtime, lambda run: run.step("root", echo, "unharmed"))
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {"root": "failed"}
    assert code_of(flowkit_runtime, run.id, "root") == code
    assert len(flowkit_runtime.records(run.id, collection="marks")) == 0
    assert other.result() == "unharmed"


if sys.version_info >= (3, 11):  # before, Python has no groups of exceptions

    def test_a_refusal_in_a_group_has_its_own_code_and_is_not_tried_again(flowkit_runtime: Runtime) -> None:
        @executor("emitter", retry=Retry(on=(Exception,)))
        async def emitter(step: StepContext) -> None:
            async def child() -> None:
                step.emit("child", "nobody", 1)

            async with asyncio.TaskGroup() as group:
                group.create_task(child())

        run = start(flowkit_runtime, lambda run: run.step("root", emitter), emitter)
        flowkit_runtime.drain()
        assert standing(flowkit_runtime, run.id) == {"root": "failed"}
        error = flowkit_runtime.step(run.id, "root").error
        assert error is not None
        assert error.code == "graph_error"
        assert "nobody" in error.message
        assert "TaskGroup" in (error.traceback or "")


def test_a_child_that_would_be_emitted_twice_by_two_steps_fails_the_second_one(flowkit_runtime: Runtime) -> None:
    @executor("emitter")
    def emitter(step: StepContext) -> None:
        step.emit("child", echo, step.step_id)

    run = start(flowkit_runtime, lambda run: run.step("a", emitter) >> run.step("b", emitter), emitter, echo)
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {"a": "succeeded", "b": "failed", "child": "succeeded"}
    assert code_of(flowkit_runtime, run.id, "b") == "emit_conflict"


def test_more_children_than_a_step_may_have_are_refused(flowkit_runtime: Runtime) -> None:
    @executor("emitter")
    def emitter(step: StepContext) -> None:
        step.map("child", echo, [None] * 10_001)

    run = start(flowkit_runtime, lambda run: run.step("root", emitter), emitter, echo)
    flowkit_runtime.drain()
    assert code_of(flowkit_runtime, run.id, "root") == "limit_exceeded"


def test_a_kind_that_another_worker_recorded_can_be_started_here(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    other = open_runtime(echo)
    run = start(flowkit_runtime, lambda run: run.step("a", "echo", 5))
    assert flowkit_runtime.drain().processed == 0
    other.drain()
    assert other.handle(run.id).result() == 5
