"""Results of steps, bound to the parameters of others by name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Optional, Protocol, TypedDict, Union

import attrs
import pytest

from flowkit.dsl.agreement import disagrees, list_disagrees
from flowkit.dsl.decorators import executor
from flowkit.dsl.handles import optional, require
from flowkit.errors import GraphError
from flowkit.model.definitions import ANY
from flowkit.model.plan import Binding, Edge


@attrs.frozen
class Text:
    words: list[str]


@attrs.frozen
class LongText(Text):
    chapters: int


@attrs.frozen
class Picture:
    width: int


@executor("ocr")
def ocr(step, page: int = 0) -> Text: ...


@executor("draw")
def draw(step) -> Picture: ...


@executor("index")
def index(step, *, pages: list[Text]) -> int: ...


@executor("print")
def show(step, *, text: Text, cover: Optional[Picture] = None) -> None: ...  # noqa: UP045


def bindings_of(plan, step_id: str) -> tuple[Binding, ...]:
    return next(spec.bindings for spec in plan.specs if step_id in spec.ids)


def test_a_handle_gives_one_result_and_is_waited_for(run_of):
    run = run_of(ocr, show)
    text = run.step("ocr", ocr)
    run.step("show", show, text=text)

    plan = run.finish(None)
    assert bindings_of(plan, "show") == (Binding("text", ((0, 0),)),)
    assert plan.edges == (Edge(1, 0, required=True),)


def test_a_group_gives_a_list(run_of):
    run = run_of(ocr, index)
    run.step("index", index, pages=run.map("page", ocr, range(3)))

    plan = run.finish(None)
    assert bindings_of(plan, "index") == (Binding("pages", ((0, 2),), many=True),)
    assert set(plan.edges) == {Edge(3, 0), Edge(3, 1), Edge(3, 2)}


def test_a_list_keeps_its_order_and_may_name_ids(run_of):
    run = run_of(ocr, index)
    pages = run.map("page", ocr, range(3))
    run.step("index", index, pages=[pages[2], "page[0]", pages[2]])

    assert bindings_of(run.finish(None), "index") == (Binding("pages", ((2, 2), (0, 0), (2, 2)), many=True),)


def test_an_id_gives_one_result_even_of_a_step_declared_later(run_of):
    run = run_of(ocr, show)
    run.step("show", show, text="ocr")
    run.step("ocr", ocr)

    plan = run.finish(None)
    assert bindings_of(plan, "show") == (Binding("text", ((1, 1),)),)
    assert plan.edges == (Edge(0, 1),)


def test_an_empty_group_is_an_empty_list(run_of):
    run = run_of(ocr, index)
    run.step("index", index, pages=run.map("page", ocr, []))

    assert bindings_of(run.finish(None), "index") == (Binding("pages", (), many=True),)


def test_an_optional_result_keeps_its_shape_and_is_not_required(run_of):
    run = run_of(ocr, draw, show, index)
    pages = run.map("page", ocr, range(2))
    run.step("show", show, text=pages[0], cover=optional(run.step("draw", draw)))
    run.step("index", index, pages=optional(pages))

    plan = run.finish(None)
    assert bindings_of(plan, "show")[1] == Binding("cover", ((2, 2),), optional=True)
    assert bindings_of(plan, "index") == (Binding("pages", ((0, 1),), many=True, optional=True),)
    assert set(plan.edges) == {
        Edge(3, 0),
        Edge(3, 2, required=False),
        Edge(4, 0, required=False),
        Edge(4, 1, required=False),
    }


def test_require_is_the_default_said_aloud(run_of):
    run = run_of(ocr, show)
    run.step("show", show, text=require(run.step("ocr", ocr)))

    plan = run.finish(None)
    assert bindings_of(plan, "show") == (Binding("text", ((0, 0),)),)
    assert plan.edges == (Edge(1, 0),)


def test_several_arguments_to_optional_are_for_after_only(run_of):
    run = run_of(ocr, index)
    a, b = run.map("page", ocr, range(2))

    with pytest.raises(GraphError, match="'index': pages: several arguments .* for after= only"):
        run.step("index", index, pages=optional(a, b))
    run.step("index", index, pages=optional([a, b]))


def test_a_parameter_with_a_default_may_stay_unbound(run_of):
    run = run_of(ocr, show)
    run.step("show", show, text=run.step("ocr", ocr))

    assert [binding.name for binding in bindings_of(run.finish(None), "show")] == ["text"]


def test_a_missing_binding_is_refused_naming_executor_and_parameter(run_of):
    with pytest.raises(GraphError, match="step 'index': executor 'index' needs a result for 'pages'"):
        run_of(index).step("index", index)


def test_an_unknown_binding_is_refused_naming_the_nearest(run_of):
    run = run_of(ocr, index)

    with pytest.raises(GraphError, match="executor 'index' has no result parameter 'page'; did you mean 'pages'"):
        run.step("index", index, page=run.step("ocr", ocr))


def test_a_misspelt_option_is_told_the_option(run_of):
    with pytest.raises(GraphError, match="'piority'; did you mean 'priority'"):
        run_of(ocr).step("ocr", ocr, piority=3)


@pytest.mark.parametrize("value", [5, None, {"a": 1}, [5], [[]]])
def test_what_is_no_step_cannot_be_bound(run_of, value):
    with pytest.raises(GraphError, match="step 'index': pages: expected"):
        run_of(index).step("index", index, pages=value)


def test_a_step_of_another_run_cannot_be_bound(run_of):
    stranger = run_of(ocr).step("ocr", ocr)

    with pytest.raises(GraphError, match="declared by another run"):
        run_of(ocr, show).step("show", show, text=stranger)


def test_an_unknown_step_is_refused_naming_the_nearest(run_of):
    run = run_of(ocr, show)
    run.step("scan", ocr)
    run.step("show", show, text="scam")

    with pytest.raises(GraphError, match="step 'show': .*'scam'; did you mean 'scan'"):
        run.finish(None)


def test_a_result_of_a_plainly_different_class_is_refused(run_of):
    run = run_of(draw, show)
    run.step("show", show, text=run.step("draw", draw))

    with pytest.raises(GraphError, match="step 'show': .* takes Text as 'text', but step 'draw' .* returns Picture"):
        run.finish(None)


def test_one_stray_member_of_a_list_is_found(run_of):
    run = run_of(ocr, draw, index)
    pages = run.map("page", ocr, range(3))
    run.step("index", index, pages=[*pages, run.step("draw", draw)])

    with pytest.raises(GraphError, match="step 'draw' .* returns Picture"):
        run.finish(None)


def test_a_single_result_for_a_list_is_refused(run_of):
    run = run_of(ocr, index)
    run.step("index", index, pages=run.step("ocr", ocr))

    with pytest.raises(GraphError, match="takes list.* but step 'ocr' .* returns Text"):
        run.finish(None)


def test_optional_stands_around_a_list_and_not_in_it(run_of):
    run = run_of(ocr, show)
    with pytest.raises(GraphError, match=r"write optional\(\[\.\.\.\]\) or require\(\[\.\.\.\]\) around the list"):
        run.step("show", show, text=[optional(run.step("a", ocr))])


def test_a_list_for_a_single_result_is_refused(run_of):
    run = run_of(ocr, show)
    run.step("show", show, text=run.map("page", ocr, range(2)))

    with pytest.raises(GraphError, match="bound as a list"):
        run.finish(None)


@executor("pair")
def pair(step, *, both: tuple[Text, Picture]): ...


def test_a_tuple_that_names_each_of_its_elements_takes_as_many_results(run_of):
    run = run_of(ocr, draw, pair)
    run.step("pair", pair, both=[run.step("a", ocr), run.step("b", draw)])
    run.finish(None)

    run = run_of(ocr, draw, pair)
    run.step("pair", pair, both=run.map("page", ocr, range(3)))
    with pytest.raises(GraphError, match="step 'pair': .*takes tuple.* as 'both', which is 2 long, but 3 results"):
        run.finish(None)


class Sized(Protocol):
    size: int


class Payload(TypedDict):
    words: list[str]


@pytest.mark.parametrize(
    ("returned", "wanted"),
    [
        (Text, Picture),
        (int, str),
        (Text, str),
        (str, Text),
        (Text, list[Text]),
        (list[int], Text),
        (datetime, Text),
        (Text, Optional[Picture]),  # noqa: UP045
        (float, int | None),
        (dict, list),
        (Payload, list[str]),
    ],
)
def test_plain_disagreements(returned, wanted):
    assert disagrees(returned, wanted)


@pytest.mark.parametrize(
    ("returned", "wanted"),
    [
        (Text, Text),
        (LongText, Text),
        (Text, LongText),
        (int, float),
        (bool, int),
        (Text, ANY),
        (ANY, Text),
        (Text, Any),
        (Text, object),
        (Text, dict),
        (Text, Payload),
        (Payload, dict[str, Any]),
        (Text, Union[Picture, str]),  # noqa: UP007
        (Text, Sized),
        (datetime, str),
        (tuple[int, ...], list[int]),
        (list[int], set),
        (list[int], Sequence[int]),
        (None, Text),
        (type(None), Text),
        (Optional[Text], Text),  # noqa: UP045
    ],
)
def test_whatever_might_fit_is_let_through(returned, wanted):
    assert not disagrees(returned, wanted)


@pytest.mark.parametrize(
    "wanted", [list[Text], Sequence[Text], tuple[Text, ...], tuple[Text, int], list[Text | None], list, ANY, list[Any]]
)
def test_a_list_of_results_fits_a_collection_of_their_class(wanted):
    assert not list_disagrees(Text, wanted)
    assert not list_disagrees(Text, Union[wanted, None] if wanted is not ANY else ANY)  # noqa: UP007


@pytest.mark.parametrize(
    "wanted", [list[Picture], Sequence[str], tuple[Picture, ...], Text, int, dict, list[Picture | None]]
)
def test_a_list_of_results_disagrees_with_another_class_or_no_collection(wanted):
    assert list_disagrees(Text, wanted)
