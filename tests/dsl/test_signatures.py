"""What an executor or entrypoint may ask for, and how it is told what it may not."""

from __future__ import annotations

from functools import partial
from typing import Any, Optional

import attrs
import pytest

from flowkit.dsl.builder import RunBuilder
from flowkit.dsl.decorators import definitions_of, executor, package
from flowkit.dsl.typing import Context
from flowkit.errors import ExecutorSignatureError
from flowkit.model.definitions import ANY, Signature


class StepContext(Context):
    """Stands for the class that executors annotate."""


@attrs.frozen
class Page:
    number: int


def signature_of(function: Any) -> Signature:
    (definition,) = definitions_of(function)
    return definition.signature()


def test_context_input_results_and_return_are_told_apart():
    @executor("a")
    def build(step: StepContext, page: Page, *, texts: list[str], title: str = "") -> int: ...

    signature = signature_of(build)

    assert (signature.takes_context, signature.takes_input) == (True, True)
    assert (signature.input_name, signature.input_type, signature.input_required) == ("page", Page, True)
    assert {name: (one.annotation, one.required) for name, one in signature.results.items()} == {
        "texts": (list[str], True),
        "title": (str, False),
    }
    assert signature.returns is int


def test_everything_may_be_left_out():
    @executor("a")
    def nothing(): ...

    signature = signature_of(nothing)
    assert (signature.takes_context, signature.takes_input, dict(signature.results)) == (False, False, {})
    assert signature.returns is ANY


def test_an_input_without_annotation_is_the_plain_json_value():
    @executor("a")
    def plain(value): ...

    assert signature_of(plain).takes_input
    assert signature_of(plain).input_type is ANY


def test_a_first_parameter_named_step_is_the_context_without_annotation():
    @executor("a")
    def named(step, page: Page): ...

    assert signature_of(named).takes_context
    assert signature_of(named).input_type is Page


def test_a_first_parameter_of_another_name_is_the_context_by_its_annotation():
    @executor("a")
    def named(ctx: StepContext): ...

    assert signature_of(named).takes_context
    assert not signature_of(named).takes_input


def test_an_input_with_a_default_is_not_required():
    @executor("a")
    def lenient(step: StepContext, page: Page = Page(1)): ...  # noqa: B008

    assert not signature_of(lenient).input_required


def test_a_default_of_none_does_not_change_the_annotation():
    @executor("a")
    def lenient(step: StepContext, page: Page = None, *, text: Optional[str] = None): ...  # noqa: UP045

    assert signature_of(lenient).input_type is Page
    assert signature_of(lenient).results["text"].annotation == Optional[str]  # noqa: UP045


@pytest.mark.parametrize("name", ["id", "executor", "input", "key", "after", "queue", "allow_failure", "dedup_key"])
def test_a_result_parameter_cannot_have_the_name_of_an_option(name: str):
    names: dict[str, Any] = {}
    exec(f"def taken(step, *, {name}): ...", names)

    with pytest.raises(ExecutorSignatureError, match=f"cannot be named '{name}'"):
        executor("a")(names["taken"])


def test_star_arguments_are_refused_with_file_and_line():
    with pytest.raises(ExecutorSignatureError, match=r"test_signatures\.py:\d+: executor .*\*pages"):

        @executor("a")
        def greedy(step, *pages): ...

    with pytest.raises(ExecutorSignatureError, match=r"\*\*options"):

        @executor("a")
        def greedier(step, **options): ...


def test_two_inputs_are_refused_when_the_decorator_runs():
    with pytest.raises(ExecutorSignatureError, match="two inputs, 'page' and 'text'"):

        @executor("a")
        def both(page: Page, text: str): ...


def test_three_positional_parameters_are_refused_even_if_annotations_cannot_be_resolved():
    with pytest.raises(ExecutorSignatureError, match="make title keyword-only"):

        @executor("a")
        def three(step: StepContext, page: NotYet, title: str): ...  # noqa: F821


def test_a_name_defined_later_is_resolved_when_the_signature_is_asked_for():
    @executor("a")
    def early(step: StepContext, page: DefinedLater): ...

    assert signature_of(early).input_type is DefinedLater


@attrs.frozen
class DefinedLater:
    number: int


def test_a_name_that_never_comes_is_refused_when_the_signature_is_asked_for():
    @executor("a")
    def early(step: StepContext, page: NeverDefined): ...  # noqa: F821

    with pytest.raises(ExecutorSignatureError, match=r"test_signatures\.py:\d+.*NeverDefined"):
        signature_of(early)


def test_a_context_imported_for_type_checkers_alone_is_known_by_its_name():
    names: dict[str, Any] = {}
    exec("def early(ctx: 'flowkit.StepContext', page: int): ...", names)

    assert signature_of(executor("a")(names["early"])).takes_context


def test_classes_of_the_enclosing_function_are_found():
    @attrs.frozen
    class Local:
        number: int

    @executor("a")
    def local(step: StepContext, page: Local) -> Local: ...

    assert signature_of(local).input_type is Local
    assert signature_of(local).returns is Local


def test_an_annotation_that_is_wrong_in_itself_is_refused_at_once():
    with pytest.raises(ExecutorSignatureError, match="cannot be resolved"):

        @executor("a")
        def wrong(step: StepContext, page: int[5]): ...


def test_generators_are_refused():
    with pytest.raises(ExecutorSignatureError, match="return a list"):

        @executor("a")
        def many(step):
            yield 1


class Press:
    def __call__(self, run): ...

    def print(self, run): ...

    @classmethod
    def bind(cls, run): ...


@pytest.mark.parametrize(
    "given",
    [Page, len, Press(), partial(Press(), None), Press().print, Press.bind, vars(Press)["bind"]],
    ids=["class", "builtin", "callable", "partial", "method", "classmethod", "classmethod before it is bound"],
)
def test_only_functions_can_be_executors_or_entrypoints(given: Any):
    for mark, noun in ((executor("a"), "executor"), (package("a"), "entrypoint")):
        with pytest.raises(ExecutorSignatureError, match=f"cannot be an {noun}: expected a function; write a def that"):
            mark(given)


def test_an_entrypoint_takes_the_builder_and_an_input():
    @package("book")
    def book(run: RunBuilder, input: Page) -> None: ...

    @package("bare")
    def bare(builder: RunBuilder): ...

    assert signature_of(book).takes_context
    assert signature_of(book).input_type is Page
    assert signature_of(bare).takes_context
    assert not signature_of(bare).takes_input


def test_an_entrypoint_cannot_be_async_or_have_results_bound():
    with pytest.raises(ExecutorSignatureError, match="plain def"):

        @package("book")
        async def waits(run: RunBuilder): ...

    with pytest.raises(ExecutorSignatureError, match="nothing is ever bound .* 'pages'"):

        @package("book")
        def bound(run: RunBuilder, *, pages: list[str]): ...
