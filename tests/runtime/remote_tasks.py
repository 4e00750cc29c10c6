"""Executors for the tests of remote pools; a child process imports them by name."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import attrs

from flowkit import Permanent, Retry, RunBuilder, StepContext, StepHandle, executor, package
from flowkit.errors import FlowkitError, StepNotFound

SOON = Retry(max_attempts=2, initial=0, maximum=0)


@attrs.frozen
class Page:
    number: int
    text: str = ""


@attrs.frozen
class Pages:
    pages: tuple[Page, ...]


def told(path: str) -> None:
    """Hold a named pipe open: whoever reads it gets this process's id now, and its end when this process has ended."""
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, str(os.getpid()).encode())


@executor("process/read", pool="process")
def read(input: Page) -> Page:
    return Page(input.number, f"page {input.number} by {os.getpid()}")


@executor("process/count", pool="process")
async def count(step: StepContext, *, pages: tuple[Page, ...], first: Page | None = None) -> dict[str, Any]:
    return {"texts": [page.text for page in pages], "first": first and first.number, "pid": os.getpid()}


@executor("process/look", pool="process")
def look(step: StepContext, input: dict[str, Any]) -> dict[str, Any]:
    try:
        step.dependency("nowhere")
    except StepNotFound as error:
        missing = error.step_id
    return {
        "run": [step.workflow.id, step.workflow.status.value, dict(step.workflow.metadata)],
        "step": [step.step.id, step.step.kind, step.step.status.value],
        "page": step.dependency("page", Page).number,
        "whole": step.dependency_result("page").status.value,
        "missing": missing,
        "input": [step.raw_input, step.input(), input],
        "keys": [step.idempotency_key, step.attempt_key, step.attempt, step.lease.epoch],
        "canceled": step.canceled,
        "now": step.now,
    }


@executor("process/hand_over", pool="process")
def hand_over(step: StepContext) -> int:
    step.record("pages", "7", {"text": "seven"})
    step.artifact("note.txt", "a note", "text/plain", metadata={"n": 1})
    ref = step.store_artifact("scan", b"\x00\xff" * 40_000)
    numbers = step.projection("numbers")
    numbers.execute("CREATE TABLE IF NOT EXISTS seen (n INTEGER PRIMARY KEY)")
    numbers.execute("INSERT OR REPLACE INTO seen VALUES (7)")
    step.log.info("handed over")
    return ref.size


@executor("process/leave_behind", pool="process")
def leave_behind(step: StepContext, input: str) -> None:
    def go_on() -> None:
        try:
            while True:
                step.record("pages", "7", "seven")
                time.sleep(0.01)
        except FlowkitError as error:
            Path(input).write_text(str(error))

    threading.Thread(target=go_on, daemon=True).start()


@executor("process/spread", pool="process")
def spread(step: StepContext, input: Pages) -> None:
    pages = step.map("page", read, input.pages)
    first = step.emit("first", "process/read", Page(0))
    step.emit("join", count, pages=pages, first=first)


@executor("process/spread_wrong", pool="process")
def spread_wrong(step: StepContext) -> None:
    step.emit("typo", "process/raed", Page(0))


@executor("process/report", pool="process")
def report(step: StepContext) -> str:
    step.progress(0, 2)
    step.progress(1, 2, "half")
    while (seen := step.step.progress) is None or seen.done < 1:
        pass
    step.progress(2, 2, "done")
    return seen.message


@executor("process/fail", pool="process")
def fail(step: StepContext, input: str) -> Any:
    if input == "permanent":
        raise Permanent("no_page", "there is no page", details={"what": object()})
    if input == "unstorable":
        return float("nan")
    raise ValueError("broken")


@executor("process/die", pool="process", retry=SOON)
def die(step: StepContext, input: str) -> str:
    if input == "exit" or (input == "once" and step.attempt == 1):
        os._exit(3)
    if input == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"attempt {step.attempt}"


@executor("process/hang", pool="process", retry=Retry(max_attempts=1))
def hang(step: StepContext, input: str) -> None:
    told(input)
    threading.Event().wait()


@executor("process/hang_for_a_while", pool="process", timeout=0.2, retry=Retry(max_attempts=1))
def hang_for_a_while(step: StepContext, input: str) -> None:
    told(input)
    threading.Event().wait()


@executor("elsewhere/read", pool="elsewhere")
def read_elsewhere(step: StepContext, input: Page) -> Page:
    step.record("pages", str(input.number), input.number)
    step.progress(1, 1, "read")
    return Page(input.number, f"page {input.number}")


@executor("elsewhere/count", pool="elsewhere")
async def count_elsewhere(step: StepContext, *, pages: list[Page]) -> int:
    step.emit("more", "elsewhere/read", Page(len(pages)))
    return sum(page.number for page in pages)


@executor("elsewhere/look", pool="elsewhere", retry=SOON)
def look_elsewhere(step: StepContext) -> str:
    return step.workflow.id


@executor("elsewhere/die", pool="elsewhere", retry=SOON)
def die_elsewhere(step: StepContext) -> None:
    os._exit(3)


@executor("elsewhere/hold", pool="elsewhere", retry=SOON)
def hold(step: StepContext, input: str) -> str:
    gates = Path(input)
    (gates / "begun").touch()
    while not (gates / "go").exists():
        time.sleep(0.01)
    return "held"


@executor("elsewhere/wait", pool="elsewhere", timeout=0.3, retry=Retry(max_attempts=1))
def wait_elsewhere(step: StepContext, input: float) -> str:
    time.sleep(input)
    return "waited"


@package("book")
def book(run: RunBuilder, input: Pages) -> StepHandle[Any]:
    pages = run.map("page", read, input.pages)
    return run.step("count", count, pages=pages)


@package("book elsewhere")
def book_elsewhere(run: RunBuilder, input: Pages) -> StepHandle[Any]:
    pages = run.map("page", read_elsewhere, input.pages)
    return run.step("count", count_elsewhere, pages=pages)


@package("look around")
def look_around(run: RunBuilder) -> StepHandle[Any]:
    run.metadata["shelf"] = 3
    page = run.step("page", read, Page(7))
    return run.step("look", look, {"a": [1, 2.5, None]}, after=page)


@package("spread out")
def spread_out(run: RunBuilder, input: Pages) -> None:
    run.step("spread", spread, input)
    run.output = "join"


@package("one")
def one(run: RunBuilder, input: list[Any]) -> None:
    """Run one step of the kind that the input names, with the rest of it as its input."""
    kind, *rest = input
    run.step("step", kind, *rest)


@package("several")
def several(run: RunBuilder, input: list[list[Any]]) -> None:
    """Run a step of each kind that the input names, one after another in priority."""
    for place, (kind, *rest) in enumerate(input):
        run.step(f"s{place}", kind, *rest, priority=place)
