"""What type checkers accept, and what they infer; never run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from typing_extensions import assert_type

from flowkit import (
    AsyncRunHandle,
    Retry,
    RunBuilder,
    RunHandle,
    Runtime,
    StepContext,
    StepGroup,
    StepHandle,
    chain,
    executor,
    optional,
    package,
    require,
)


@dataclass
class Page:
    number: int


@dataclass
class Text:
    words: str


@executor("ocr")
def ocr(step: StepContext, page: Page) -> Text:
    return Text(str(page.number))


@executor("ocr/async", queue="gpu", retry=Retry(max_attempts=1), timeout=timedelta(minutes=1), priority=3, pool="gpu")
async def ocr_async(step: StepContext, page: Page) -> Text:
    return Text(str(page.number))


@executor("ocr/bare")
def bare(page: Page) -> Text:
    return Text(str(page.number))


@executor("ocr/bare-async")
async def bare_async(page: Page) -> Text:
    return Text(str(page.number))


@executor("tidy")
def tidy(step: StepContext) -> int:
    return 1


@executor("tidy/async")
async def tidy_async(step: StepContext) -> int:
    return 1


@executor("ping")
def ping() -> str:
    return "pong"


@executor("index")
def index(step: StepContext, *, pages: list[Text], cover: Text | None = None) -> int:
    return len(pages)


@executor("index/titled")
async def titled(step: StepContext, title: str, *, pages: list[Text]) -> int:
    return len(pages)


@executor("lenient")
def lenient(step: StepContext, page: Page | None = None) -> int:
    return 1


def numbers() -> Iterator[Page]:
    yield Page(1)


def each_shape_of_executor(run: RunBuilder, page: Page) -> None:
    assert_type(run.step("a", ocr, page), StepHandle[Text])
    assert_type(run.step("b", ocr_async, page), StepHandle[Text])
    assert_type(run.step("c", bare, page), StepHandle[Text])
    assert_type(run.step("d", bare_async, page), StepHandle[Text])
    assert_type(run.step("e", tidy), StepHandle[int])
    assert_type(run.step("f", tidy_async), StepHandle[int])
    assert_type(run.step(None, ping), StepHandle[str])
    assert_type(run.step("h", lenient), StepHandle[int])
    assert_type(run.step("i", lenient, page), StepHandle[int])
    assert_type(run.step("j", lenient, None), StepHandle[int])
    assert_type(run.step("k", "kind/by-name"), StepHandle[Any])
    assert_type(run.step("l", "kind/by-name", {"any": "thing"}, priority=1), StepHandle[Any])


def each_shape_of_map(run: RunBuilder, page: Page) -> None:
    assert_type(run.map("a", ocr, [page, page]), StepGroup[Text])
    assert_type(run.map("b", ocr_async, numbers(), key=lambda one: one.number), StepGroup[Text])
    assert_type(run.map("c", bare, (page, page)), StepGroup[Text])
    assert_type(run.map("d", bare_async, [page]), StepGroup[Text])
    assert_type(run.map("e", "kind/by-name", [1, 2], key=str), StepGroup[Any])
    group = run.map("f", ocr, [page])
    assert_type(group[0], StepHandle[Text])
    assert_type(group[1:], StepGroup[Text])
    assert_type(list(group), list[StepHandle[Text]])


def bindings_and_options(run: RunBuilder, page: Page) -> None:
    pages = run.map("page", ocr, [page])
    one = run.step("one", ocr, page)
    assert_type(run.step("a", index, pages=pages), StepHandle[int])
    assert_type(run.step("b", index, pages=[one, "page[0]"], cover=optional(one)), StepHandle[int])
    assert_type(run.step("c", index, pages=optional(pages), after=[pages, one, "a", require(one)]), StepHandle[int])
    assert_type(run.step("d", titled, "title", pages=(one, pages[0]), timeout=5, delay=0.5), StepHandle[int])
    run.step("e", ocr, page, after=one, retry=Retry(), metadata={"lane": 3}, allow_failure=True, dedup_key="once")
    run.step("f", ocr, page, after=optional(one, pages, [one, one]), queue=None, timeout=timedelta(hours=1))


def order(run: RunBuilder) -> None:
    a, b, c = run.step("a", tidy), run.step("b", tidy), run.step("c", tidy)
    group = run.map("g", ocr, [Page(1)])
    chain(a, b, [c, "d"], group)
    a >> b >> [b, c]
    [a, b] >> c
    assert_type(a >> group, StepGroup[Text])
    optional(a) >> b


def takes_any_handle(handle: StepHandle[object], group: StepGroup[object]) -> None:
    chain(handle, group)


def handles_are_covariant(run: RunBuilder, page: Page) -> None:
    takes_any_handle(run.step("a", ocr, page), run.map("b", ocr, [page]))


def emitting(step: StepContext, page: Page) -> None:
    group = step.map("page", ocr, [page])
    assert_type(group, StepGroup[Text])
    assert_type(step.emit("index", index, pages=group), StepHandle[int])
    assert_type(step.emit(None, ocr_async, page, after="stored"), StepHandle[Text])


@package("book", display_name="Book", queue="slow")
def book(run: RunBuilder, input: Page) -> StepHandle[Text]:
    return run.step("ocr", ocr, input)


@package("pages")
def many(run: RunBuilder, input: Page) -> StepGroup[Text]:
    return run.map("page", ocr, [input])


@package("some")
def some(run: RunBuilder, input: Page) -> list[StepHandle[Text]]:
    return [run.step("first", ocr, input), run.step("second", ocr, input)]


@package("nothing")
def nothing(run: RunBuilder) -> None:
    run.step("tidy", tidy)


def decorators_change_nothing(context: StepContext, run: RunBuilder) -> None:
    assert_type(ocr(context, Page(1)), Text)
    assert_type(book(run, Page(1)), StepHandle[Text])


def starting(rt: Runtime) -> None:
    assert_type(rt.start_run(book, Page(1), run_id="one"), RunHandle[Text])
    assert_type(rt.start_run(book, Page(1)).result(), Text)
    assert_type(rt.start_run(many, Page(1)), RunHandle[list[Text]])
    assert_type(rt.start_run(some, Page(1)), RunHandle[list[Text]])
    assert_type(rt.start_runs(some, [Page(1)]), list[RunHandle[list[Text]]])
    assert_type(rt.start_run(nothing), RunHandle[Any])
    assert_type(rt.start_run("book", {"number": 1}), RunHandle[Any])
    assert_type(rt.run(book, Page(1)).result(), Text)
    assert_type(rt.run(book, Page(1)).result("index", int), int)
    assert_type(rt.run(book, Page(1)).result(type=str, timeout=5), str)
    assert_type(rt.run(book, Page(1)).result("index", timeout=timedelta(seconds=5)), Any)


async def starting_in_an_event_loop(rt: Runtime) -> None:
    assert_type(await rt.aio.start_run(book, Page(1), run_id="one"), AsyncRunHandle[Text])
    assert_type(await (await rt.aio.start_run(book, Page(1))).result(), Text)
    assert_type(await rt.aio.start_run(some, Page(1)), AsyncRunHandle[list[Text]])
    assert_type(await rt.aio.start_run(nothing), AsyncRunHandle[Any])
    assert_type(await rt.aio.start_runs(many, [Page(1), Page(2)]), list[AsyncRunHandle[list[Text]]])
    assert_type(await (await rt.aio.run(book, Page(1))).result("index", int), int)
