"""An executor gets what was given, in the form its annotation asks for; what does not fit is named, path by path."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from flowkit import InvalidInput, RunBuilder, Runtime, StepContext, executor, package
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import echo, register, start


@attrs.frozen
class Page:
    url: str
    number: int = 0


@attrs.frozen
class Book:
    title: str
    pages: list[Page] = attrs.Factory(list)


@attrs.frozen
class NewerPage:
    url: int
    number: int = 0


@attrs.frozen
class NewerBook:
    title: str
    pages: list[NewerPage]


@executor("read")
def read(step: StepContext, book: Book) -> str:
    return f"{book.title}: {len(book.pages)} pages"


@package("library")
def library(run: RunBuilder, book: Book) -> Any:
    return run.step("read", read, book)


BOOK = Book("Emma", [Page("one"), Page("two", 2)])


def test_an_input_that_no_longer_fits_fails_the_step_and_names_every_path(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    """The run was started by an older version of the program; a newer one executes its steps."""

    @executor("read")
    def read_newly(step: StepContext, book: NewerBook) -> str:
        return "never"

    run = start(flowkit_runtime, lambda run: run.step("read", read, BOOK), read)
    newer = open_runtime(read_newly)
    newer.drain()
    result = newer.result(run.id, "read")
    assert result is not None
    assert result.error is not None
    assert result.error.code == "invalid_input"
    assert not result.error.retryable
    assert "input $.pages[0].url: expected int, got str" in result.error.message
    assert "$.pages[1].url" in result.error.message


def test_a_bound_result_that_no_longer_fits_fails_the_step_too(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    @executor("use")
    def use(step: StepContext, *, page: Page) -> str:
        return page.url

    @executor("use")
    def use_newly(step: StepContext, *, page: int) -> str:
        return "never"

    @executor("make")
    def make(step: StepContext) -> Page:
        return Page("one")

    run = start(flowkit_runtime, lambda run: run.step("use", use, page=run.step("make", make)), make, use)
    newer = open_runtime(make, use_newly)
    newer.drain()
    result = newer.result(run.id, "use")
    assert result is not None
    assert result.error is not None
    assert (result.error.code, "page" in result.error.message) == ("invalid_input", True)


def test_a_parameter_that_is_gone_fails_the_step_that_binds_it(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    @executor("use")
    def use(step: StepContext, *, page: Any) -> None: ...

    @executor("use")
    def use_newly(step: StepContext) -> None: ...

    run = start(flowkit_runtime, lambda run: run.step("use", use, page=run.step("a", echo, 1)), echo, use)
    newer = open_runtime(echo, use_newly)
    newer.drain()
    result = newer.result(run.id, "use")
    assert result is not None
    assert result.error is not None
    assert (result.error.code, "'page'" in result.error.message) == ("invalid_input", True)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"title": 5}, r"\$\.title"),
        ({}, "title"),
        ({"title": "x", "pages": [{"url": 1}]}, r"\$\.pages\[0\]\.url"),
        ({"title": "x", "pages": [{"url": "a", "number": 5.9}]}, r"\$\.pages\[0\]\.number"),
        ({"title": "x", "pages": [{"url": "a", "number": "5"}]}, r"\$\.pages\[0\]\.number"),
        ({"title": "x", "pges": []}, "pges"),
        ("Emma", "input"),
        (None, "input"),
    ],
)
def test_an_input_that_does_not_fit_the_package_is_refused_before_anything_is_stored(
    flowkit_runtime: Runtime, given: Any, path: str
) -> None:
    register(flowkit_runtime, read, library)
    with pytest.raises(InvalidInput, match=path):
        flowkit_runtime.start_run("library", given)
    assert len(flowkit_runtime.runs()) == 0


@pytest.mark.parametrize("given", [BOOK, attrs.asdict(BOOK)], ids=["instance", "dict"])
def test_a_dict_stands_for_an_attrs_class(flowkit_runtime: Runtime, given: Any) -> None:
    register(flowkit_runtime, read, library)
    run = flowkit_runtime.start_run("library", given)
    flowkit_runtime.drain()
    assert run.result() == "Emma: 2 pages"


def test_an_input_for_a_package_that_takes_none_is_refused(flowkit_runtime: Runtime) -> None:
    @package("plain")
    def plain(run: RunBuilder) -> None:
        run.step("a", echo, 1)

    register(flowkit_runtime, echo, plain)
    with pytest.raises(InvalidInput, match="takes no input"):
        flowkit_runtime.start_run("plain", 5)


def test_an_input_that_is_left_out_though_it_is_needed_is_told(flowkit_runtime: Runtime) -> None:
    register(flowkit_runtime, read, library)
    with pytest.raises(InvalidInput, match=r"package 'library' needs an input, and none was given: input \$: expected"):
        flowkit_runtime.start_run("library")


def test_a_default_input_may_be_left_out(flowkit_runtime: Runtime) -> None:
    @package("plain")
    def plain(run: RunBuilder, pages: int = 3) -> Any:
        return run.step("a", echo, pages)

    register(flowkit_runtime, echo, plain)
    run = flowkit_runtime.start_run("plain")
    flowkit_runtime.drain()
    assert run.result() == 3


def test_an_input_without_an_annotation_is_the_plain_value(flowkit_runtime: Runtime) -> None:
    got: list[Any] = []

    @executor("plain")
    def plain(step, value):  # type: ignore[no-untyped-def]
        got.append((value, step.raw_input, step.input(), step.input(dict[str, int])))

    start(flowkit_runtime, lambda run: run.step("a", plain, {"a": 1}), plain)
    flowkit_runtime.drain()
    assert got == [({"a": 1}, '{"a":1}', {"a": 1}, {"a": 1})]


def test_executors_may_leave_out_the_context_or_the_input(flowkit_runtime: Runtime) -> None:
    @executor("neither")
    def neither() -> str:
        return "neither"

    @executor("input-only")
    def input_only(value: int) -> int:
        return value

    def describe(run: RunBuilder) -> Any:
        return [run.step("a", neither), run.step("b", input_only, 5)]

    run = start(flowkit_runtime, describe, neither, input_only)
    flowkit_runtime.drain()
    assert run.result() == ["neither", 5]


def test_a_marked_function_is_still_the_function_itself() -> None:
    assert read(None, BOOK) == "Emma: 2 pages"  # type: ignore[arg-type]


def test_too_large_an_input_is_refused(flowkit_runtime: Runtime) -> None:
    with pytest.raises(InvalidInput, match="1 MiB"):
        start(flowkit_runtime, lambda run: run.step("a", echo, "x" * (1024 * 1024)), echo)
