"""Declaring one step: its id, its executor, its input and its options."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from flowkit.clock import SECOND
from flowkit.dsl.builder import RunBuilder
from flowkit.dsl.decorators import executor, package
from flowkit.dsl.kinds import RemoteKind
from flowkit.errors import GraphError, InvalidInput
from flowkit.model.plan import Output, StepSpec
from flowkit.model.retry import Retry


@attrs.frozen
class Page:
    number: int


@executor("ocr", queue="gpu", priority=7, retry=Retry(max_attempts=9), timeout=60)
def ocr(step, page: Page) -> str: ...


@executor("tidy")
def tidy(step) -> None: ...


@executor("greet")
def greet(name: str = "world") -> str: ...


@executor("lost")
def lost(step) -> None: ...


@executor("new-name")
@executor("old-name")
def renamed(step) -> None: ...


@package("other")
def other(run): ...


def only_step(run: RunBuilder) -> StepSpec:
    (step,) = run.finish(None).specs
    return step


def test_a_step_carries_its_kind_and_input(run_of):
    run = run_of(ocr)
    handle = run.step("first", ocr, Page(3))

    assert (handle.id, handle.kind) == ("first", "ocr")
    step = only_step(run)
    assert (step.kind, step.ids, step.inputs) == ("ocr", ["first"], [b'{"number": 3}'])


def test_a_kind_may_be_given_by_name(run_of):
    run = run_of(ocr)
    run.step("first", "ocr", Page(3))

    assert only_step(run).queue == "gpu"


@pytest.mark.parametrize("blank", [None, "", " "])
def test_a_blank_id_gets_a_default(run_of, blank):
    run = run_of(tidy)

    assert run.step(blank, tidy).id == "run-1:step:001"
    assert run.step(blank, tidy).id == "run-1:step:002"


def test_a_default_id_that_would_be_too_long_is_shortened():
    run = RunBuilder(run_id="r" * 200, registry=_Knows(), encode=lambda *_: b"1")

    assert len(run.step(None, "anything").id) <= 200


class _Knows:
    def find_executor(self, kind):
        return None

    def find_remote(self, kind):
        return RemoteKind(kind, {}, takes_input=False, input_required=False)

    def known_kinds(self):
        return []


@pytest.mark.parametrize("bad", [" edge", "a\nb", "x" * 201, 5])
def test_an_id_that_is_no_name_is_refused(run_of, bad):
    with pytest.raises(GraphError, match="step id: expected"):
        run_of(tidy).step(bad, tidy)


def test_an_id_is_unique_within_a_run(run_of):
    run = run_of(tidy)
    run.step("first", tidy)

    with pytest.raises(GraphError, match="'first' is declared twice"):
        run.step("first", tidy)


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_kind_is_refused(run_of, blank):
    with pytest.raises(GraphError, match="workflow step kind is required"):
        run_of(tidy).step("first", blank)


def test_an_unknown_kind_is_refused_naming_the_nearest(run_of):
    with pytest.raises(GraphError, match="'orc'.*did you mean 'ocr'"):
        run_of(ocr, tidy).step("first", "orc", Page(1))


def test_a_kind_that_another_worker_recorded_is_accepted(run_of):
    run = run_of(remote=[RemoteKind("far", {"pages": True}, takes_input=True, input_required=True)])
    run.step("first", "far", {"any": 1}, pages=[])

    assert only_step(run).inputs == [b'{"any": 1}']


def test_what_another_worker_recorded_is_checked_too(run_of):
    run = run_of(remote=[RemoteKind("far", {"pages": True}, takes_input=False, input_required=False)])

    with pytest.raises(GraphError, match="'far' needs a result for 'pages'"):
        run.step("first", "far")
    with pytest.raises(GraphError, match="'far' takes no input"):
        run.step("first", "far", 5, pages=[])


def test_an_unmarked_function_is_refused(run_of):
    with pytest.raises(GraphError, match="decorate it with @executor"):
        run_of(ocr).step("first", len)


def test_a_package_is_no_executor(run_of):
    with pytest.raises(GraphError, match="other is no executor"):
        run_of(ocr).step("first", other)


def test_a_marked_function_that_nobody_registered_is_refused_with_its_place(run_of):
    with pytest.raises(GraphError, match=r"kind 'lost' of .*test_steps\.py:\d+ is not registered; .*modules="):
        run_of(ocr).step("first", lost)


def test_a_marked_function_that_only_another_worker_serves_is_accepted(run_of):
    run = run_of(remote=[RemoteKind("lost", {}, takes_input=False, input_required=False)])
    run.step("first", lost)

    assert only_step(run).kind == "lost"


def test_a_function_whose_kind_is_registered_for_another_is_refused(run_of):
    @executor("tidy")
    def impostor(step): ...

    with pytest.raises(GraphError, match=r"'tidy' is registered for .*, and .* was given"):
        run_of(tidy).step("first", impostor)


def test_a_function_of_several_kinds_is_named_by_kind(run_of):
    run = run_of(renamed)

    with pytest.raises(GraphError, match=r"several kinds \('old-name', 'new-name'\)"):
        run.step("first", renamed)
    assert run.step("first", "new-name").kind == "new-name"


def test_a_missing_input_is_refused(run_of):
    with pytest.raises(GraphError, match="'first'.*'ocr' needs an input"):
        run_of(ocr).step("first", ocr)


def test_an_input_for_an_executor_that_takes_none_is_refused(run_of):
    with pytest.raises(GraphError, match="'tidy' takes no input, but was given 5"):
        run_of(tidy).step("first", tidy, 5)


def test_where_no_input_is_given_the_default_is_stored(run_of):
    run = run_of(greet)
    run.step("first", greet)

    assert only_step(run).inputs == [b'"world"']


def test_none_is_an_input(run_of):
    run = run_of(greet)
    run.step("first", greet, None)

    assert only_step(run).inputs == [b"null"]


def test_an_input_that_is_no_json_names_the_step(run_of):
    with pytest.raises(InvalidInput, match="step 'first': input"):
        run_of(greet).step("first", greet, object())


def test_a_handle_is_no_input(run_of):
    run = run_of(greet)
    first = run.step("first", greet)

    with pytest.raises(GraphError, match="bind .*as a keyword: a handle is no input"):
        run.step("second", greet, first)


def test_options_of_the_step_win_over_those_of_the_executor(run_of):
    run = run_of(ocr, queue="slow")
    run.step(
        "first", ocr, Page(1), queue="fast", priority=-1, retry=Retry(max_attempts=2), timeout=timedelta(seconds=5)
    )

    step = only_step(run)
    assert (step.queue, step.priority, step.retry, step.timeout) == ("fast", -1, Retry(max_attempts=2), 5 * SECOND)


def test_a_priority_of_zero_is_an_answer(run_of):
    run = run_of(ocr)
    run.step("first", ocr, Page(1), priority=0)

    assert only_step(run).priority == 0


def test_options_of_the_executor_win_over_the_package(run_of):
    run = run_of(ocr, queue="slow")
    run.step("first", ocr, Page(1))

    step = only_step(run)
    assert (step.queue, step.priority, step.retry, step.timeout) == ("gpu", 7, Retry(max_attempts=9), 60 * SECOND)


def test_the_package_wins_over_the_default(run_of):
    run = run_of(tidy, queue="slow")
    run.step("first", tidy)

    assert only_step(run).queue == "slow"


def test_the_defaults_are_modest(run_of):
    run = run_of(tidy)
    run.step("first", tidy)

    assert only_step(run) == StepSpec("tidy", ["first"], [b"null"])


def test_what_only_a_step_can_say_is_kept(run_of):
    run = run_of(tidy)
    run.step("first", tidy, delay=1.5, dedup_key="once", metadata={"lane": 3}, allow_failure=True)

    step = only_step(run)
    assert (step.delay, step.dedup_keys, step.allow_failure) == (1_500_000, ["once"], True)
    assert step.metadata == '{"lane": 3}'


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("queue", "two words"),
        ("queue", 5),
        ("retry", 3),
        ("timeout", 0),
        ("timeout", -1),
        ("delay", -1),
        ("delay", "soon"),
        ("priority", 1001),
        ("priority", 1.5),
        ("priority", True),
        ("dedup_key", ""),
        ("metadata", [1]),
        ("metadata", {"x": object()}),
        ("metadata", {"x": "y" * 20_000}),
        ("allow_failure", 1),
        ("after", 5),
    ],
)
def test_an_option_out_of_range_is_refused_naming_step_and_option(run_of, option, value):
    with pytest.raises(GraphError, match=f"step 'first': {option}"):
        run_of(tidy).step("first", tidy, **{option: value})


def test_a_second_declaration_with_one_dedup_key_gives_the_first_handle(run_of):
    run = run_of(tidy, greet)
    first = run.step("first", tidy, dedup_key="once")

    assert run.step("second", tidy, dedup_key="once") is first
    assert run.step("first", tidy, dedup_key="once") is first
    assert run.step("third", greet, dedup_key="once") is not first
    assert run.finish(None).ids == ["first", "third"]


def test_the_only_step_is_the_output(run_of):
    run = run_of(tidy)
    run.step("first", tidy)

    assert run.finish(None).output == Output("first")


def test_of_several_steps_none_is_the_output_unless_one_is_named(run_of):
    run = run_of(tidy)
    run.step("first", tidy)
    run.step("second", tidy)

    assert run.finish(None).output is None


def test_a_returned_handle_names_the_output(run_of):
    run = run_of(tidy)
    run.step("first", tidy)
    second = run.step("second", tidy)

    assert run.finish(second).output == Output("second")


def test_a_returned_list_of_handles_is_an_output_in_that_order(run_of):
    run = run_of(tidy)
    a, b, c = (run.step(name, tidy) for name in "abc")

    assert run.finish([c, a, "b"]).output == Output(spans=((2, 2), (0, 1)))


def test_a_returned_group_is_a_list(run_of):
    run = run_of(greet)

    assert run.finish(run.map("hi", greet, ["a", "b"])).output == Output(spans=((0, 1),))


def test_the_output_may_be_a_step_that_will_be_emitted_later(run_of):
    run = run_of(tidy)
    run.step("first", tidy)
    run.output = "index"

    assert run.finish(None).output == Output("index")


def test_two_different_outputs_are_refused(run_of):
    run = run_of(tidy)
    first = run.step("first", tidy)
    run.output = "index"

    with pytest.raises(GraphError, match=r"run\.output names 'index'"):
        run.finish(first)


def test_an_output_that_is_no_step_is_refused(run_of):
    run = run_of(tidy)
    run.step("first", tidy)

    with pytest.raises(GraphError, match="entrypoint of package 'book' returned 5"):
        run.finish(5)
    with pytest.raises(GraphError, match="no step of this run has the id 'frist'; did you mean 'first'"):
        run.finish(["frist"])


def test_a_run_without_steps_is_refused(run_of):
    with pytest.raises(GraphError, match="workflow package 'book' entrypoint produced no initial steps"):
        run_of().finish(None)


def test_a_finished_graph_takes_nothing_more(run_of):
    run = run_of(tidy)
    first = run.step("first", tidy)
    run.finish(None)

    with pytest.raises(GraphError, match="finished"):
        run.step("second", tidy)
    with pytest.raises(GraphError, match="finished"):
        first >> first


def test_what_is_no_setting_of_a_run_cannot_be_set(run_of):
    run = run_of(tidy)
    for typo in ("ouput", "queue"):
        with pytest.raises(AttributeError, match=f"'RunBuilder' object has no attribute '{typo}'"):
            setattr(run, typo, "first")
