"""What the stories of tracing and metrics run."""

from __future__ import annotations

from opentelemetry import trace

from flowkit import Permanent, Retry, Retryable, RunBuilder, StepContext, StepHandle, executor, package


@executor("book/scan", retry=Retry(max_attempts=3, initial=10), queue="scanner")
def scan(step: StepContext, pages: int) -> int:
    if pages == 13 and step.attempt == 1:
        raise Retryable("jam", "paper jam")
    with trace.get_tracer("the program's own").start_as_current_span("turn pages"):
        step.log.info("scanning", pages=pages)
    return pages


@executor("book/read")
async def read(step: StepContext, *, pages: int) -> str:
    if pages == 0:
        raise Permanent("blank", "there is nothing in it")
    return f"{pages} pages"


@executor("book/bind", pool="process")
def bind(step: StepContext, *, text: str) -> str:
    return f"bound: {text}, in trace {trace.get_current_span().get_span_context().trace_id:032x}"


@package("book")
def book(run: RunBuilder, pages: int) -> StepHandle[str]:
    return run.step("read", read, pages=run.step("scan", scan, pages))


@package("volume")
def volume(run: RunBuilder, pages: int) -> StepHandle[str]:
    return run.step("bind", bind, text=run.step("read", read, pages=run.step("scan", scan, pages)))
