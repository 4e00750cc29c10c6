"""Fan out over what a step finds: it emits the steps and their join, and they are stored together with its result."""

from flowkit import RunBuilder, Runtime, StepContext, executor, package

SHELVES = {"north": ["ants", "bees"], "south": ["crows", "dogs", "eels"]}


@executor("library/list")
def list_shelf(step: StepContext, shelf: str) -> int:
    """What is emitted exists only if this step succeeds; a failed attempt leaves nothing behind."""
    titles = SHELVES[shelf]
    lengths = step.map("title", measure, titles, key=str)
    step.emit("report", report, shelf, lengths=lengths)
    return len(titles)


@executor("library/measure")
def measure(title: str) -> int:
    return len(title)


@executor("library/report")
def report(shelf: str, *, lengths: list[int]) -> str:
    return f"{shelf}: {len(lengths)} titles, {sum(lengths)} letters"


@package("library")
def library(run: RunBuilder, shelf: str) -> None:
    run.step("list", list_shelf, shelf)
    run.output = "report"  # the id of a step that does not exist yet


def main() -> None:
    with Runtime("sqlite:///var/dynamic-fan-out.db", modules=[__name__]) as rt:
        for shelf in SHELVES:
            print(rt.run(library, shelf).result())
        newest = rt.runs(package="library", limit=1)[0]
        for step in rt.steps(newest.id):
            print(f"{step.id} (from {step.parent_id})" if step.parent_id else step.id)


if __name__ == "__main__":
    main()
