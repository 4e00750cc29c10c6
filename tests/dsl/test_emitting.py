"""What an executor may emit: the same language, and steps that are stored already, by id."""

from __future__ import annotations

import pytest

from flowkit.dsl.builder import MAX_CHILDREN
from flowkit.dsl.decorators import executor
from flowkit.dsl.graph import DuplicateStep
from flowkit.dsl.handles import chain, optional
from flowkit.errors import GraphError, LimitExceeded
from flowkit.model.plan import Binding, Edge


@executor("work", queue="own")
def work(step, input: int = 0) -> int: ...


@executor("collect")
def collect(step, *, parts: list[int]) -> int: ...


@pytest.fixture
def emit(emit_of):
    return emit_of(work, collect)


def test_nothing_emitted_is_no_plan(emit):
    assert emit.finish() is None


def test_a_blank_id_is_made_from_the_parents(emit):
    assert emit.step(None, work).id == "parent:emit:001"
    assert emit.map("", work, [1])[0].id == "parent:emit:002[0]"


def test_children_take_options_from_their_executor_and_nothing_from_the_parent(emit):
    emit.step("a", work)

    plan = emit.finish()
    assert plan.specs[0].queue == "own"
    assert plan.output is None


def test_an_only_child_is_no_output(emit):
    emit.step("a", work)

    assert emit.finish().output is None


def test_children_may_be_joined_where_they_are_fanned_out(emit):
    emit.step("join", collect, parts=emit.map("part", work, range(2)))

    plan = emit.finish()
    assert plan.specs[1].bindings == (Binding("parts", ((0, 1),), many=True),)
    assert set(plan.edges) == {Edge(2, 0), Edge(2, 1)}


def test_an_id_that_is_not_declared_here_is_a_stored_step(emit):
    part = emit.step("part", work, after="convert")
    emit.step("join", collect, parts=["cover", part, "back"], after=optional("tidy"))

    plan = emit.finish()
    assert plan.specs[1].bindings == (Binding("parts", ("cover", (0, 0), "back"), many=True),)
    assert set(plan.edges) == {
        Edge(0, "convert"),
        Edge(1, 0),
        Edge(1, "cover"),
        Edge(1, "back"),
        Edge(1, "tidy", required=False),
    }
    assert plan.stored_targets() == {"convert", "cover", "back", "tidy"}


def test_stored_steps_that_several_children_wait_for_are_a_gate(emit):
    emit.map("part", work, range(2), after=["convert", "cover"])

    plan = emit.finish()
    assert plan.gates == ("convert..cover",)
    assert set(plan.edges) == {Edge(2, "convert", False), Edge(2, "cover", False), Edge(0, 2), Edge(1, 2)}


def test_a_stored_step_cannot_be_made_to_wait(emit):
    chain(emit.step("part", work), "convert")

    with pytest.raises(GraphError, match="'convert' is not declared here"):
        emit.finish()


def test_an_id_declared_twice_is_told_apart_from_other_errors(emit):
    emit.step("a", work)

    with pytest.raises(DuplicateStep, match="'a' is declared twice"):
        emit.step("a", work)


def test_a_circle_among_children_is_refused(emit):
    emit.step("a", work, after="b")
    emit.step("b", work, after="a")

    with pytest.raises(GraphError, match="circle"):
        emit.finish()


def test_a_step_has_at_most_ten_thousand_children(emit):
    emit.map("part", work, range(MAX_CHILDREN))

    with pytest.raises(LimitExceeded, match="'parent' emits has at most 10000 steps"):
        emit.step("one-more", work)


def test_what_was_refused_leaves_the_rest_as_it_was(emit):
    emit.step("a", work)
    for wrong in ("nobody", work):
        with pytest.raises(GraphError):
            emit.step("a", wrong)

    assert emit.finish().ids == ["a"]
