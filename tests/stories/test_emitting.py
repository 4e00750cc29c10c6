"""Steps that steps emit: exactly once, joined where they fan out, and their join named as the run's output."""

from __future__ import annotations

from typing import Any

import pytest

from flowkit import Permanent, RunBuilder, Runtime, StepContext, StepNotFound, executor, optional
from tests.stories.telling import echo, fail, standing, start


@executor("number")
def number(step: StepContext, input: int) -> int:
    return input


@executor("total")
def total(step: StepContext, *, numbers: list[int]) -> int:
    return sum(numbers)


@executor("listed")
def listed(step: StepContext, *, before: int, numbers: list[int]) -> list[int]:
    return [before, *numbers]


def test_a_join_emitted_with_its_fan_out_is_the_output_of_the_run(flowkit_runtime: Runtime) -> None:
    @executor("split")
    def split(step: StepContext, input: int) -> None:
        numbers = step.map("number", number, range(input))
        step.emit("total", total, numbers=numbers)

    def describe(run: RunBuilder) -> None:
        run.output = "total"
        run.step("split", split, 5)

    run = start(flowkit_runtime, describe, split, number, total)
    flowkit_runtime.drain()
    assert run.result() == 10
    result = flowkit_runtime.result(run.id, "split")
    assert result is not None
    assert result.emitted_ids == ("number[0]", "number[1]", "number[2]", "number[3]", "number[4]", "total")


def test_a_join_that_never_came_to_be_is_a_step_that_is_not_there(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        run.output = "total"
        run.step("split", echo, 5)

    run = start(flowkit_runtime, describe, echo)
    flowkit_runtime.drain()
    with pytest.raises(StepNotFound) as missing:
        run.result()
    assert missing.value.step_id == "total"


def test_dependents_do_not_wait_for_what_a_step_emits(flowkit_runtime: Runtime) -> None:
    @executor("emitter")
    def emitter(step: StepContext) -> None:
        step.emit("child", echo, 1, delay=60)

    run = start(flowkit_runtime, lambda run: run.step("a", emitter) >> run.step("b", echo, 2), emitter, echo)
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {"a": "succeeded", "b": "succeeded", "child": "ready"}
    assert run.status() == "running"


def test_an_emitted_step_may_wait_for_any_stored_step_by_its_id(flowkit_runtime: Runtime) -> None:
    @executor("emitter")
    def emitter(step: StepContext) -> None:
        step.emit("child", total, numbers=["one", "two"])

    def describe(run: RunBuilder) -> None:
        run.step("emitter", emitter)
        run.step("one", number, 1)
        run.step("two", number, 2)

    run = start(flowkit_runtime, describe, emitter, number, total)
    flowkit_runtime.drain()
    assert run.result("child") == 3


def test_an_emitted_step_that_requires_a_dead_one_is_born_canceled(flowkit_runtime: Runtime) -> None:
    @executor("emitter")
    def emitter(step: StepContext) -> None:
        step.emit("child", echo, 1, after="dead")
        step.emit("grandchild", echo, 1, after="child")
        step.emit("hopeful", echo, 1, after=optional("dead"))

    def describe(run: RunBuilder) -> None:
        dead = run.step("dead", fail, allow_failure=True)
        run.step("emitter", emitter, after=optional(dead))

    run = start(flowkit_runtime, describe, emitter, fail, echo)
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {
        "dead": "failed",
        "emitter": "succeeded",
        "child": "canceled (dependency:dead)",
        "grandchild": "canceled (dependency:child)",
        "hopeful": "succeeded",
    }
    assert run.status() == "succeeded"


def test_an_attempt_that_fails_leaves_no_children(flowkit_runtime: Runtime) -> None:
    @executor("emitter")
    def emitter(step: StepContext) -> None:
        step.emit("child", echo, 1)
        raise Permanent("after_all")

    run = start(flowkit_runtime, lambda run: run.step("a", emitter), emitter, echo)
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {"a": "failed"}


def test_an_emitted_step_inherits_nothing_from_its_parent(flowkit_runtime: Runtime) -> None:
    @executor("emitter")
    def emitter(step: StepContext) -> None:
        step.emit(None, echo, 1)

    run = start(flowkit_runtime, lambda run: run.step("a", emitter, queue="cpu", priority=5), emitter, echo)
    flowkit_runtime.drain()
    child = flowkit_runtime.step(run.id, "a:emit:001")
    assert (child.queue, child.priority, child.parent_id) == ("default", 0, "a")


def test_steps_are_listed_in_the_order_in_which_they_were_declared(flowkit_runtime: Runtime) -> None:
    @executor("emitter")
    def emitter(step: StepContext) -> None:
        step.map("z", echo, [1, 2])
        step.emit("a", echo, 1)

    run = start(flowkit_runtime, lambda run: [run.step("m", emitter), run.step("b", echo, 1)], emitter, echo)
    flowkit_runtime.drain()
    assert list(standing(flowkit_runtime, run.id)) == ["m", "b", "z[0]", "z[1]", "a"]


def test_an_empty_map_keeps_the_order_between_what_is_before_and_after_it(flowkit_runtime: Runtime) -> None:
    order: list[str] = []

    @executor("note")
    def note(step: StepContext) -> int:
        order.append(step.step_id)
        return len(order)

    def describe(run: RunBuilder) -> Any:
        after = "zz"
        nothing = run.map("page", number, [], after=after)
        last = run.step("aa", note, after=nothing)
        run.step("zz", note)
        return run.step("list", listed, before=last, numbers=nothing)

    run = start(flowkit_runtime, describe, note, number, listed)
    flowkit_runtime.drain()
    assert order == ["zz", "aa"]
    assert run.result() == [2]


def test_an_empty_map_of_what_failed_holds_back_what_comes_after_it(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        nothing = run.map("page", number, [], after=run.step("bad", fail))
        run.step("late", echo, 1, after=nothing)

    run = start(flowkit_runtime, describe, fail, number, echo)
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {"bad": "failed", "late": "canceled (dependency:bad)"}


def test_results_of_a_group_come_in_input_order_whatever_ended_first(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> Any:
        first = run.step("first", number, 1, delay=0)
        slow = run.step("slow", number, 2, after=first)
        return run.step("list", listed, before=first, numbers=[slow, first, slow])

    run = start(flowkit_runtime, describe, number, listed)
    flowkit_runtime.drain()
    assert run.result() == [1, 2, 1, 2]


def test_an_optional_result_of_a_step_that_failed_is_none(flowkit_runtime: Runtime) -> None:
    @executor("maybe")
    def maybe(step: StepContext, *, one: int | None, many: list[int | None]) -> list[Any]:
        return [one, many]

    def describe(run: RunBuilder) -> Any:
        bad = run.step("bad", fail, allow_failure=True)
        good = run.step("good", number, 1)
        return run.step("maybe", maybe, one=optional(bad), many=optional([bad, good]))

    run = start(flowkit_runtime, describe, fail, number, maybe)
    flowkit_runtime.drain()
    assert run.result() == [None, [None, 1]]


def test_a_second_step_of_one_dedup_key_is_the_first_one(flowkit_runtime: Runtime) -> None:
    handles: list[Any] = []

    def describe(run: RunBuilder) -> Any:
        handles.append(run.step("first", number, 1, dedup_key="it"))
        handles.append(run.step("second", number, 2, dedup_key="it"))
        return run.step("total", total, numbers=[*handles])

    run = start(flowkit_runtime, describe, number, total)
    flowkit_runtime.drain()
    assert handles[0] == handles[1]
    assert standing(flowkit_runtime, run.id) == {"first": "succeeded", "total": "succeeded"}
    assert run.result() == 2


def test_what_waits_for_a_step_that_another_parent_emitted_first_waits_for_that_one(flowkit_runtime: Runtime) -> None:
    @executor("emitter")
    def emitter(step: StepContext, input: int) -> None:
        page = step.emit(f"page-{input}", number, input, dedup_key="page")
        step.emit(f"total-{input}", total, numbers=[page])

    def describe(run: RunBuilder) -> None:
        run.step("one", emitter, 10) >> run.step("two", emitter, 20)

    run = start(flowkit_runtime, describe, emitter, number, total)
    flowkit_runtime.drain()
    assert "page-20" not in standing(flowkit_runtime, run.id)
    assert (run.result("total-10"), run.result("total-20")) == (10, 10)
    second = flowkit_runtime.result(run.id, "two")
    assert second is not None
    assert second.emitted_ids == ("page-10", "total-20")


def test_ten_thousand_steps_after_ten_thousand_are_stored_as_members_and_waiters(
    flowkit_runtime: Runtime,
) -> None:
    def describe(run: RunBuilder) -> None:
        run.map("late", echo, [None] * 10_000, after=run.map("early", echo, [None] * 10_000))

    run = start(flowkit_runtime, describe, echo)
    assert edges_of(flowkit_runtime, run.id) == 20_000
    assert flowkit_runtime.step(run.id, "late[9999]").waits_for == 1
    flowkit_runtime.cancel_run(run.id)


def edges_of(runtime: Runtime, run_id: str) -> int:
    """Return how many edges are stored of a run."""
    with runtime._parts.engine.read() as tx:
        return int(tx.script("SELECT edges FROM runs WHERE id = ?", (run_id,))[0][0])
