"""Declaring one step for each input: ids, keys, and groups that cost nothing until they are looked at."""

from __future__ import annotations

import itertools

import pytest

from flowkit.dsl.decorators import executor
from flowkit.dsl.handles import StepGroup, StepHandle
from flowkit.errors import GraphError, InvalidInput, LimitExceeded


@executor("ocr")
def ocr(step, page: int) -> str: ...


@executor("tidy")
def tidy(step) -> None: ...


def ids_of(run) -> list[str]:
    return list(run.finish(None).ids)


def test_each_input_is_a_step_numbered_from_zero(run_of):
    run = run_of(ocr)
    group = run.map("page", ocr, [7, 8])

    assert [handle.id for handle in group] == ["page[0]", "page[1]"]
    (spec,) = run.finish(None).specs
    assert (spec.ids, spec.inputs) == (["page[0]", "page[1]"], [b"7", b"8"])


def test_a_key_names_each_step(run_of):
    run = run_of(ocr)
    run.map("page", ocr, [7, 8], key=lambda page: page * 10)

    assert ids_of(run) == ["page[70]", "page[80]"]


def test_equal_keys_are_refused(run_of):
    with pytest.raises(GraphError, match="two inputs have the key 'same'"):
        run_of(ocr).map("page", ocr, [7, 8], key=lambda _: "same")


def test_a_key_that_makes_no_id_is_refused(run_of):
    with pytest.raises(GraphError, match="control characters"):
        run_of(ocr).map("page", ocr, [7], key=lambda _: "a\x00b")


def test_a_key_of_nothing_is_refused(run_of):
    with pytest.raises(GraphError, match="key: expected a text or number for each input, got None for 1"):
        run_of(ocr).map("page", ocr, [1, 2], key=lambda page: None)


def test_what_maps_over_a_dict_has_to_say_over_what_of_it(run_of):
    with pytest.raises(GraphError, match=r"step 'page': expected a list of inputs, got a dict; write list\(inputs"):
        run_of(ocr).map("page", ocr, {"first": 1})


def test_a_key_that_is_no_function_is_refused(run_of):
    with pytest.raises(GraphError, match="key: expected a function of an input, got 'n'"):
        run_of(ocr).map("page", ocr, [7], key="n")


def test_a_key_that_is_too_long_is_shortened_and_stays_different(run_of):
    run = run_of(ocr)
    run.map("page", ocr, [1, 2], key=lambda page: "k" * 300 + str(page))

    first, second = ids_of(run)
    assert len(first) <= 200
    assert first != second


def test_a_blank_id_gets_a_default(run_of):
    run = run_of(ocr)

    assert [handle.id for handle in run.map(None, ocr, [7, 8])] == ["run-1:step:001[0]", "run-1:step:001[1]"]


def test_inputs_may_be_any_iterable(run_of):
    run = run_of(ocr)

    assert len(run.map("page", ocr, (n for n in range(3)))) == 3


def test_the_results_of_a_step_are_no_inputs(run_of):
    run = run_of(ocr)
    pages = run.map("page", ocr, [1])

    for unknown in (pages, pages[0]):
        with pytest.raises(GraphError, match=r"fan out inside an executor with step\.map"):
            run.map("again", ocr, unknown)
    with pytest.raises(GraphError, match="a handle is no input"):
        run.map("again", ocr, [pages[0]])


@pytest.mark.parametrize("inputs", ["abc", b"abc", 5, None])
def test_what_is_no_list_is_refused(run_of, inputs):
    with pytest.raises(GraphError, match="step 'page': expected a list of inputs"):
        run_of(ocr).map("page", ocr, inputs)


def test_options_go_to_every_step(run_of):
    run = run_of(ocr)
    run.map("page", ocr, [1, 2], queue="gpu", priority=3)

    (spec,) = run.finish(None).specs
    assert (spec.queue, spec.priority, spec.ids) == ("gpu", 3, ["page[0]", "page[1]"])


def test_an_input_that_does_not_fit_names_its_step_and_declares_nothing(run_of):
    run = run_of(ocr)

    with pytest.raises(InvalidInput, match=r"step 'page\[1\]': input"):
        run.map("page", ocr, [1, object()])
    run.map("page", ocr, [1])
    assert ids_of(run) == ["page[0]"]


def test_an_id_taken_by_another_step_is_refused(run_of):
    run = run_of(ocr)
    run.step("page[1]", ocr, 1)

    with pytest.raises(GraphError, match=r"'page\[1\]' is declared twice"):
        run.map("page", ocr, [1, 2])


def test_a_dedup_key_is_one_for_each_input(run_of):
    run = run_of(ocr)
    first = run.map("page", ocr, [1, 2], dedup_key="scan")
    again = run.map("other", ocr, [1, 2, 3], dedup_key="scan")

    assert [handle.id for handle in again] == ["page[0]", "page[1]", "other[2]"]
    assert list(again)[:2] == list(first)
    assert [spec.dedup_keys for spec in run.finish(None).specs] == [["scan[0]", "scan[1]"], ["scan[2]"]]


def test_a_step_that_an_input_of_a_map_declares_may_not_have_the_maps_dedup_key(run_of):
    run = run_of(ocr)

    def inputs():
        yield 1
        run.step("x", ocr, 5, dedup_key="scan[0]")

    with pytest.raises(GraphError, match=r"dedup key 'scan\[0\]' was declared while its map was: list the inputs"):
        run.map("page", ocr, inputs(), dedup_key="scan")
    assert ids_of(run) == ["x"]


def test_a_step_that_an_input_of_a_map_declares_comes_before_it(run_of):
    run = run_of(ocr)
    group = run.map("page", ocr, (run.step(f"x{at}", ocr, at) and at for at in range(2)))

    assert [handle.id for handle in group] == ["page[0]", "page[1]"]
    assert ids_of(run) == ["x0", "x1", "page[0]", "page[1]"]


def test_a_map_without_inputs_is_an_empty_group(run_of):
    run = run_of(ocr, tidy)
    run.step("tidy", tidy)
    group = run.map("page", ocr, [])

    assert (len(group), list(group), group.id) == (0, [], "page")
    assert ids_of(run) == ["tidy"]


def test_a_run_whose_only_map_is_empty_is_refused_naming_it(run_of):
    run = run_of(ocr)
    run.map("page", ocr, [])

    with pytest.raises(
        GraphError, match="'book' entrypoint produced no initial steps: the map 'page' was given no inputs"
    ):
        run.finish(None)


def test_a_group_is_a_sequence_of_handles(run_of):
    run = run_of(ocr)
    group = run.map("page", ocr, range(5))

    assert isinstance(group[1], StepHandle)
    assert group[-1].id == "page[4]"
    assert isinstance(group[1:3], StepGroup)
    assert [handle.id for handle in group[1:3]] == ["page[1]", "page[2]"]
    assert group[1] in group
    assert group[1] == group[1]
    assert len({group[1], group[1], group[2]}) == 2
    with pytest.raises(IndexError):
        group[5]


def test_a_map_without_end_is_stopped_at_the_limit(emit_of):
    with pytest.raises(LimitExceeded, match="10000"):
        emit_of(ocr).map("page", ocr, itertools.count())
