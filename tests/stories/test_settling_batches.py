"""Outcomes are stored many at a time; one that cannot be written takes none of its neighbours along."""

from __future__ import annotations

from typing import Any

from flowkit import Runtime, StepContext, executor
from tests.places import Place
from tests.stories.telling import code_of, echo, standing, start


def plant(runtime: Runtime, place: Place, table: str, when: str) -> None:
    """Make the database refuse a row."""
    with runtime._parts.engine.write() as tx:
        for sql in place.refuse(table, when):
            tx.script(sql)


def is_bad(place: Place) -> str:
    return f"""{place.text('NEW.body')} = '"bad"'"""


def test_a_statement_that_raises_costs_its_neighbours_nothing(flowkit_runtime: Runtime, place: Place) -> None:
    run = start(flowkit_runtime, lambda run: run.map("a", echo, ["one", "bad", "three"]) and None, echo)
    plant(flowkit_runtime, place, "results", is_bad(place))
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {"a[0]": "succeeded", "a[1]": "failed", "a[2]": "succeeded"}
    assert code_of(flowkit_runtime, run.id, "a[1]") == "unsettleable"
    result = flowkit_runtime.result(run.id, "a[1]")
    assert result is not None
    assert result.error is not None
    assert "a planted refusal" in result.error.message


def test_the_same_holds_for_a_batch_that_a_running_worker_gathered(flowkit_runtime: Runtime, place: Place) -> None:
    run = start(flowkit_runtime, lambda run: run.map("a", echo, ["good"] * 20 + ["bad"] + ["good"] * 20) and None, echo)
    plant(flowkit_runtime, place, "results", is_bad(place))
    with flowkit_runtime.workers():
        assert run.wait(timeout=30).status == "failed"
    counts: dict[str, int] = {}
    for status in standing(flowkit_runtime, run.id).values():
        counts[status] = counts.get(status, 0) + 1
    assert counts == {"succeeded": 40, "failed": 1}


def test_children_that_the_database_refuses_fail_their_parent_alone(flowkit_runtime: Runtime, place: Place) -> None:
    @executor("emitter")
    def emitter(step: StepContext, child: str) -> None:
        step.emit(child, echo, 1)

    def describe(run: Any) -> None:
        run.map("a", emitter, ["one", "bad", "three"])

    run = start(flowkit_runtime, describe, emitter, echo)
    plant(flowkit_runtime, place, "steps", "NEW.id = 'bad'")
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {
        "a[0]": "succeeded",
        "a[1]": "failed",
        "a[2]": "succeeded",
        "one": "succeeded",
        "three": "succeeded",
    }


def test_an_outcome_whose_progress_the_database_refuses_fails_without_it(
    flowkit_runtime: Runtime, place: Place
) -> None:
    @executor("tells")
    def tells(step: StepContext, name: str) -> str:
        step.progress(1, 2, name)
        return name

    run = start(flowkit_runtime, lambda run: run.map("a", tells, ["one", "bad"]) and None, tells)
    plant(flowkit_runtime, place, "progress", "NEW.body LIKE '%bad%'")
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {"a[0]": "succeeded", "a[1]": "failed"}
    assert code_of(flowkit_runtime, run.id, "a[1]") == "unsettleable"
