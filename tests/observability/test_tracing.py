"""Tracing with OpenTelemetry's own SDK: one trace a run, whoever works on it, and nothing where no SDK is set up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from flowkit import Event, GraphError, RunBuilder, Runtime, package
from flowkit.clock import SECOND
from flowkit.otel import OpenTelemetry, add_trace_ids
from flowkit.runtime.instruments import Instrument
from flowkit.store.check import check
from flowkit.testing import FakeClock

ROOT = Path(__file__).resolve().parents[2]
FLOWS = "tests.observability.flows"


@attrs.frozen
class Tracing:
    """An SDK of a test's own, and what it exported."""

    provider: TracerProvider
    exporter: InMemorySpanExporter

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found


@pytest.fixture
def tracing() -> Iterator[Tracing]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Tracing(provider, exporter)
    provider.shutdown()


@pytest.fixture
def opened(tmp_path: Path, flowkit_clock: FakeClock, tracing: Tracing) -> Iterator[Runtime]:
    with open_runtime(tmp_path, flowkit_clock, OpenTelemetry(tracing.provider)) as runtime:
        yield runtime


def open_runtime(place: Path, clock: FakeClock, *observers: Any, **settings: Any) -> Runtime:
    url = f"sqlite:///{place / 'book.db'}"
    return Runtime(url, modules=[FLOWS], entry_points=False, clock=clock, observers=observers, **settings)


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def trace_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id


def test_a_run_is_one_trace_that_goes_on_from_the_callers_span(opened: Runtime, tracing: Tracing) -> None:
    tracer = tracing.provider.get_tracer("the program")
    with tracer.start_as_current_span("request"):
        run = opened.start_run("book", 2)
    opened.drain()

    request, start, whole = (tracing.named(name) for name in ("request", "start book", "run book"))
    scan, read = (tracing.named(name) for name in ("book/scan", "book/read"))
    assert parent_of(start) == id_of(request)
    assert [parent_of(span) for span in (scan, read, whole)] == [id_of(start)] * 3
    assert {trace_of(span) for span in tracing.spans} == {trace_of(request)}
    assert [span.kind for span in (start, scan)] == [SpanKind.PRODUCER, SpanKind.CONSUMER]
    assert {span.attributes["flowkit.run.id"] for span in (start, scan, whole)} == {run.id}  # type: ignore[index]


def test_an_attempt_says_what_it_is_an_attempt_of(opened: Runtime, tracing: Tracing) -> None:
    run = opened.start_run("book", 2)
    opened.drain()
    assert tracing.named("book/scan").attributes == {
        "messaging.system": "flowkit",
        "messaging.operation.type": "process",
        "messaging.destination.name": "scanner",
        "flowkit.package": "book",
        "flowkit.run.id": run.id,
        "flowkit.step.id": "scan",
        "flowkit.kind": "book/scan",
        "flowkit.attempt": 1,
        "flowkit.worker.id": opened.worker_id,
        "flowkit.outcome": "succeeded",
    }


def test_the_whole_run_is_told_by_the_clock_of_the_engine(
    opened: Runtime, tracing: Tracing, flowkit_clock: FakeClock
) -> None:
    begun = flowkit_clock.now()
    opened.start_run("book", 2)
    flowkit_clock.advance(90)
    opened.drain()
    whole = tracing.named("run book")
    assert (whole.start_time, whole.end_time) == (begun * 1000, (begun + 90 * SECOND) * 1000)
    assert whole.attributes is not None
    assert whole.attributes["flowkit.run.status"] == "succeeded"


def test_attempts_that_fail_have_spans_that_say_why(
    opened: Runtime, tracing: Tracing, flowkit_clock: FakeClock
) -> None:
    opened.start_run("book", 13)
    opened.drain()
    flowkit_clock.advance(10)
    opened.drain()
    first, second = (span for span in tracing.spans if span.name == "book/scan")
    assert first.attributes is not None
    assert (first.attributes["flowkit.outcome"], first.attributes["error.type"]) == ("retried", "jam")
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, "jam: paper jam")
    assert "Traceback" in str((first.events[0].attributes or {})["exception.stacktrace"])
    assert (second.attributes or {})["flowkit.attempt"] == 2
    assert second.status.status_code is StatusCode.UNSET


def test_a_run_that_failed_is_an_error(opened: Runtime, tracing: Tracing) -> None:
    opened.start_run("book", 0)
    opened.drain()
    assert tracing.named("run book").status.status_code is StatusCode.ERROR
    assert tracing.named("book/read").status.description == "blank: there is nothing in it"


def test_the_spans_of_an_executor_lie_within_its_attempts(
    opened: Runtime, tracing: Tracing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "get_tracer", lambda name, **_: tracing.provider.get_tracer(name))
    opened.start_run("book", 2)
    with opened.workers():
        opened.handle(opened.runs()[0].id).wait()
    assert parent_of(tracing.named("turn pages")) == id_of(tracing.named("book/scan"))


def test_an_attempt_in_another_process_is_traced_from_here(opened: Runtime, tracing: Tracing) -> None:
    opened.start_run("volume", 2)
    while not opened.runs()[0].is_ended:
        opened.drain()
    bind, start = tracing.named("book/bind"), tracing.named("start volume")
    assert (trace_of(bind), parent_of(bind)) == (trace_of(start), id_of(start))
    assert (bind.attributes or {})["flowkit.outcome"] == "succeeded"


def test_what_an_executor_traces_in_another_process_belongs_to_the_same_trace(
    opened: Runtime, tracing: Tracing
) -> None:
    run = opened.start_run("volume", 2)
    while not opened.runs()[0].is_ended:
        opened.drain()
    assert run.result() == f"bound: 2 pages, in trace {trace_of(tracing.named('start volume')):032x}"


WORKER = """
import json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from flowkit import Runtime
from flowkit.otel import OpenTelemetry

exporter = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
with Runtime(sys.argv[1], modules=["tests.observability.flows"], observers=[OpenTelemetry()]) as rt:
    rt.drain()
print(json.dumps({s.name: [s.context.trace_id, s.parent and s.parent.span_id] for s in exporter.get_finished_spans()}))
"""


def test_a_worker_in_another_process_goes_on_with_the_trace(tracing: Tracing, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'book.db'}"
    with Runtime(url, modules=[FLOWS], entry_points=False, observers=[OpenTelemetry(tracing.provider)]) as runtime:
        runtime.start_run("book", 2)

    done = subprocess.run(
        [sys.executable, "-c", WORKER, url], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr

    start = tracing.named("start book")
    told = json.loads(done.stdout)
    assert {name: told[name] for name in ("book/scan", "book/read", "run book")} == dict.fromkeys(
        ("book/scan", "book/read", "run book"), [trace_of(start), id_of(start)]
    )


def test_the_trace_is_a_fact_of_the_runs_history_and_not_mixed_with_its_metadata(
    opened: Runtime, tracing: Tracing
) -> None:
    run = opened.start_run("book", 2, metadata={"shelf": "A"})
    entry = opened.history(run.id)[0]
    start = tracing.named("start book")
    version, trace_id, span_id, _ = entry.fields["origin"]["traceparent"].split("-")
    assert (version, trace_id, span_id) == ("00", f"{trace_of(start):032x}", f"{id_of(start):016x}")
    assert opened.workflow(run.id).metadata == {"shelf": "A"}  # type: ignore[union-attr]
    opened.drain()
    with opened._parts.engine.read() as tx:
        assert check(tx) == []


def test_each_of_many_runs_has_a_trace_of_its_own(opened: Runtime, tracing: Tracing) -> None:
    opened.start_runs("book", [1, 2, 3])
    opened.drain()
    traces = {trace_of(span) for span in tracing.spans}
    assert len(traces) == 3
    assert [span.name for span in tracing.spans].count("start book") == 3


def test_a_run_that_is_there_already_keeps_its_trace(opened: Runtime, tracing: Tracing) -> None:
    opened.start_run("book", 2, run_id="one")
    opened.start_run("book", 2, run_id="one")
    opened.drain()
    first, again = (span for span in tracing.spans if span.name == "start book")
    assert [(span.attributes or {})["flowkit.run.created"] for span in (first, again)] == [True, False]
    assert parent_of(tracing.named("book/scan")) == id_of(first)


def test_a_start_that_is_refused_is_an_error_of_its_span(opened: Runtime, tracing: Tracing) -> None:
    @package("empty")
    def empty(run: RunBuilder) -> None:
        return None

    opened.register_package(empty)
    with pytest.raises(GraphError):
        opened.start_run("empty")
    assert tracing.named("start empty").status.status_code is StatusCode.ERROR


def test_lines_of_the_log_name_the_span_they_belong_to(opened: Runtime, tracing: Tracing) -> None:
    with structlog.testing.capture_logs() as lines:
        opened.start_run("book", 2)
        opened.drain()
    said = {line["event"]: line for line in lines if line.get("step_id") in (None, "scan")}
    scan, start = tracing.named("book/scan"), tracing.named("start book")
    trace_id = f"{trace_of(start):032x}"
    assert {said[name]["trace_id"] for name in ("run_created", "scanning", "step_succeeded", "run_finished")} == {
        trace_id
    }
    assert [said[name]["span_id"] for name in ("scanning", "step_succeeded")] == [f"{id_of(scan):016x}"] * 2


def test_the_programs_own_lines_get_the_ids_by_a_processor(tracing: Tracing) -> None:
    with tracing.provider.get_tracer("the program").start_as_current_span("request") as span:
        line = add_trace_ids(None, "info", {"event": "hello"})
    context = span.get_span_context()
    assert line == {
        "event": "hello",
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
    }
    assert add_trace_ids(None, "info", {"event": "hello"}) == {"event": "hello"}


def test_nothing_is_traced_or_stored_where_no_sdk_is_set_up(tmp_path: Path, flowkit_clock: FakeClock) -> None:
    assert not OpenTelemetry().is_on  # so that not even a span that nobody records is made
    with open_runtime(tmp_path, flowkit_clock, OpenTelemetry()) as runtime, structlog.testing.capture_logs() as lines:
        run = runtime.start_run("book", 2)
        runtime.drain()
        assert run.result() == "2 pages"
        assert "origin" not in runtime.history(run.id)[0].fields
    assert not [line for line in lines if "trace_id" in line]


def test_a_run_that_was_started_untraced_is_worked_on_all_the_same(
    tmp_path: Path, flowkit_clock: FakeClock, tracing: Tracing
) -> None:
    with open_runtime(tmp_path, flowkit_clock) as plain:
        run = plain.start_run("book", 2)
    with open_runtime(tmp_path, flowkit_clock, OpenTelemetry(tracing.provider)) as traced:
        traced.drain()
        assert traced.handle(run.id).result() == "2 pages"
    assert parent_of(tracing.named("book/scan")) is None


class Quiet(Instrument):
    """Wants no events but those that are told in any case."""

    listens = False

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, event: Event) -> None:
        self.heard.append(event.name)


def test_an_instrument_may_want_no_event_of_every_step(tmp_path: Path, flowkit_clock: FakeClock) -> None:
    quiet = Quiet()
    structlog.reset_defaults()  # a program that configured structlog listens to all of them
    with open_runtime(tmp_path, flowkit_clock, quiet) as runtime:
        runtime.run("book", 2)
        runtime.run("book", 0)
    assert quiet.heard == ["run_finished", "step_failed", "run_finished"]
    assert not OpenTelemetry.listens


class Broken(Instrument):
    """Fails wherever it is let in."""

    def around_start(self, package: str, *, alone: bool) -> Any:
        raise RuntimeError("no start")

    def around_attempt(self, step: Any, *, here: bool) -> Any:
        raise RuntimeError("no attempt")

    def log_fields(self, event: Any) -> Any:
        raise RuntimeError("no fields")


def test_an_instrument_that_fails_is_logged_and_hurts_nothing(tmp_path: Path, flowkit_clock: FakeClock) -> None:
    with open_runtime(tmp_path, flowkit_clock, Broken()) as runtime, structlog.testing.capture_logs() as lines:
        run = runtime.start_run("book", 2)
        runtime.drain()
        assert run.result() == "2 pages"
    assert {line["event"] for line in lines} >= {"instrument_failed", "step_succeeded", "run_finished"}
