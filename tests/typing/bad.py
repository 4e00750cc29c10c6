"""What type checkers refuse: each line marked so is an error, and no other; never run."""

from __future__ import annotations

from flowkit import Retry, RunBuilder, Runtime, StepContext, StepGroup, StepHandle, chain, executor, optional, package
from tests.typing.good import Page, Text, bare, bare_async, book, index, ocr, ocr_async, ping, tidy, titled


def wrong_inputs(run: RunBuilder, page: Page) -> None:
    run.step("a", ocr, 5)  # error
    run.step("b", ocr_async, 5)  # error
    run.step("c", bare, "text")  # error
    run.step("d", bare_async, None)  # error
    run.step("e", tidy, 5)  # error
    run.step("f", ping, 5)  # error
    run.step("g", titled, page, pages=[])  # error
    run.map("h", ocr, [5])  # error
    run.map("i", ocr_async, ["text"])  # error
    run.map("j", ocr, page)  # error
    run.map("k", ocr, run.step("l", ocr, page))  # error
    run.map("m", ocr, [page], key=5)  # error


def wrong_bindings(run: RunBuilder) -> None:
    run.step("a", index, pages=5)  # error
    run.step("b", index, pages=None)  # error
    run.step("c", index, pages=[5])  # error
    run.step("d", index, pages=optional(5))  # error
    run.step("e", titled, "title", pages=Text("not a handle"))  # error


def takes_a_number(handle: StepHandle[int]) -> None: ...


def takes_numbers(group: StepGroup[int]) -> None: ...


def wrong_results(run: RunBuilder, page: Page) -> None:
    takes_a_number(run.step("a", ocr, page))  # error
    takes_a_number(run.step("b", ocr_async, page))  # error
    takes_numbers(run.map("c", ocr, [page]))  # error


def wrong_options(run: RunBuilder, page: Page) -> None:
    run.step("a", ocr, page, priority="high")  # error
    run.step("b", ocr, page, retry=3)  # error
    run.step("c", ocr_async, page, timeout="soon")  # error
    run.step("d", ocr, page, after=5)  # error
    run.step("e", ocr, page, metadata=[1])  # error
    run.step("f", tidy, allow_failure="yes")  # error
    run.step("g", "kind/by-name", page, queue=5)  # error
    run.map("h", ocr, [page], delay="soon")  # error
    run.step(5, tidy)  # error
    run.step("i", 5)  # error


def wrong_order(run: RunBuilder) -> None:
    a = run.step("a", tidy)
    a >> 5  # error
    chain(a, 5)  # error


def wrong_emissions(step: StepContext, page: Page) -> None:
    step.emit("a", ocr, 5)  # error
    step.emit("b", ocr, page, priority="high")  # error
    step.map("c", ocr, [5])  # error


def wrong_decorations() -> None:
    executor("a", timeout="soon")  # error
    executor("a", retry=3)  # error
    executor(5)  # error
    package("a", queue=5)  # error


def wrong_starts(rt: Runtime) -> None:
    rt.start_run(book, 5)  # error
    rt.start_run(book, Page(1), run_id=5)  # error
    print(rt.start_run(book, Page(1)).result().number)  # error
    Retry(max_attempts="three")  # error


async def wrong_starts_in_an_event_loop(rt: Runtime) -> None:
    await rt.aio.start_run(book, 5)  # error
    await rt.aio.start_runs(book, [5])  # error
    print((await rt.aio.start_run(book, Page(1))).created_at)  # error
