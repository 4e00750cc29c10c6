"""Fan out over a list that is known at the start, and join: a list parameter gets every result, in input order."""

from attrs import frozen

from flowkit import Permanent, RunBuilder, Runtime, StepHandle, executor, optional, package


@frozen
class Book:
    title: str
    pages: list[str]


@executor("book/convert")
def convert(book: Book) -> str:
    return f"{book.title}.pdf"


@executor("book/page")
def count_words(page: str) -> int:
    if not page:
        raise Permanent("blank_page", "there is nothing on it")
    return len(page.split())


@executor("book/index")
def index(*, file: str, counts: list[int | None]) -> str:
    words = sum(count for count in counts if count is not None)
    return f"{file}: {words} words on {len(counts)} pages, {counts.count(None)} of them blank"


@package("book")
def book(run: RunBuilder, input: Book) -> StepHandle[str]:
    file = run.step("convert", convert, input)
    # One step for each page: page[0], page[1], ... They need no result of convert, so they only wait for it.
    # allow_failure: a blank page does not make the run fail. optional: nor does it keep the index from being made.
    counts = run.map("page", count_words, input.pages, after=file, allow_failure=True)
    return run.step("index", index, file=file, counts=optional(counts))


def main() -> None:
    with Runtime("sqlite:///var/fan-out-join.db", modules=[__name__]) as rt:
        run = rt.run(book, Book("tea", ["first boil water", "", "then wait"]))
        for step in rt.steps(run.id):
            print(f"{step.id:8} {step.status}")
        print(run.result())


if __name__ == "__main__":
    main()
