"""OpenTelemetry: a span for every start, attempt and run, in one trace however many processes work on it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from flowkit.errors import MissingExtra
from flowkit.model.events import Event
from flowkit.model.outcome import Failed, Outcome, Retried, StepError
from flowkit.model.step import LeasedStep
from flowkit.runtime.attempts import StopReason
from flowkit.runtime.instruments import Instrument, Origin, TellEnd, TellStart

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace import ProxyTracerProvider, Span, SpanContext, SpanKind, Status, StatusCode, Tracer
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as missing:
    raise MissingExtra("flowkit.otel", "otel", "Without it there are logs and events.") from missing

T = TypeVar("T")

NANOSECONDS = 1000
"""In a microsecond."""

REMEMBERED = 4096
"""Of how many runs and attempts it is remembered which trace they belong to."""

_PROPAGATOR = TraceContextTextMapPropagator()


class OpenTelemetry(Instrument):
    """Traces what a Runtime does: ``Runtime(..., observers=[OpenTelemetry()])``.

    The start of a run is a child of the caller's span. Its trace context is stored with the run, so that each attempt,
    in whatever process, is a child of it; the attempt's span is the current one while the executor runs. When the run
    has ended, one more span tells of it from its creation to its end. Log lines get ``trace_id`` and ``span_id``.
    Where no SDK is set up nothing is traced, and nothing stored.

    Args:
        tracer_provider: None is the global one, looked for whenever something happens.
    """

    listens = False

    def __init__(self, tracer_provider: trace.TracerProvider | None = None) -> None:
        self._provider = tracer_provider
        self._found: tuple[trace.TracerProvider, Tracer] | None = None
        self._runtimes: WeakSet[Any] = WeakSet()
        self._runs: _Newest[Context] = _Newest(REMEMBERED)
        self._attempts: _Newest[SpanContext] = _Newest(REMEMBERED)

    def opened(self, runtime: Any) -> None:
        """Take a Runtime whose runs are traced."""
        self._runtimes.add(runtime)

    def closed(self, runtime: Any) -> None:
        """Take leave of a Runtime."""
        self._runtimes.discard(runtime)

    @property
    def is_on(self) -> bool:
        """Whether an SDK is set up."""
        return self._tracer() is not None

    def _tracer(self) -> Tracer | None:
        provider = self._provider or trace.get_tracer_provider()
        if self._found is not None and self._found[0] is provider:
            return self._found[1]
        if isinstance(provider, ProxyTracerProvider):
            return None  # no SDK: even a span that nobody records has its price
        self._found = provider, trace.get_tracer("flowkit", tracer_provider=provider)
        return self._found[1]

    def around_start(self, package: str, *, alone: bool) -> AbstractContextManager[tuple[Origin, TellStart]]:
        """Span the start of a run."""
        tracer = self._tracer()
        return nullcontext(({}, _unheard)) if tracer is None else self._start(tracer, package, alone)

    @contextmanager
    def _start(self, tracer: Tracer, package: str, alone: bool) -> Iterator[tuple[Origin, TellStart]]:
        known = {"messaging.system": "flowkit", "messaging.operation.type": "send", "flowkit.package": package}
        with _span(tracer, f"start {package}", here=alone, kind=SpanKind.PRODUCER, attributes=known) as span:
            context, origin = trace.set_span_in_context(span, Context()), dict[str, str]()
            _PROPAGATOR.inject(origin, context)

            def tell(run_id: str, is_new: bool) -> None:
                span.set_attributes({"flowkit.run.id": run_id, "flowkit.run.created": is_new})
                if is_new:
                    self._runs[run_id] = context

            yield origin, tell

    def around_attempt(self, step: LeasedStep, *, here: bool) -> AbstractContextManager[TellEnd]:
        """Span an attempt."""
        tracer = self._tracer()
        return nullcontext(_unheard) if tracer is None else self._attempt(tracer, step, here)

    @contextmanager
    def _attempt(self, tracer: Tracer, step: LeasedStep, here: bool) -> Iterator[TellEnd]:
        settings = {"context": self._context(step.run_id), "kind": SpanKind.CONSUMER, "attributes": _attributes(step)}
        with _span(tracer, step.kind, here=here, **settings) as span:
            self._attempts[step.run_id, step.id, step.attempt] = span.get_span_context()

            def tell(outcome: Outcome, reason: StopReason | None) -> None:
                span.set_attribute("flowkit.outcome", type(outcome).__name__.lower())
                if reason is not None:
                    span.set_attribute("flowkit.stopped", reason)
                if isinstance(outcome, (Failed, Retried)):
                    _failed(span, outcome.error)

            yield tell

    def carried(self, step: LeasedStep) -> Origin:
        """Return the context of an attempt's span."""
        span, carrier = self._attempts.get((step.run_id, step.id, step.attempt)), dict[str, str]()
        if span is not None:
            _PROPAGATOR.inject(carrier, trace.set_span_in_context(trace.NonRecordingSpan(span), Context()))
        return carrier

    def __call__(self, event: Event) -> None:
        """Span a whole run when it has ended."""
        tracer = self._tracer() if event.name == "run_finished" else None
        if tracer is None or event.run_id is None:
            return
        package, status = event.fields["package"], event.fields["status"].value
        known = {"flowkit.run.id": event.run_id, "flowkit.package": package, "flowkit.run.status": status}
        began = (event.at - event.fields["duration"]) * NANOSECONDS
        context = self._context(event.run_id)
        span = tracer.start_span(f"run {package}", context, attributes=known, start_time=began)
        if status == "failed":
            span.set_status(Status(StatusCode.ERROR))
        span.end(event.at * NANOSECONDS)

    def log_fields(self, event: Event | None) -> Mapping[str, str]:
        """Return the ids of the span that a log line belongs to."""
        if self._tracer() is None:
            return {}
        if event is None or event.run_id is None:
            return trace_fields(trace.get_current_span().get_span_context())
        found = self._attempts.get((event.run_id, event.step_id, event.attempt))
        if found is None:
            context = self._runs.get(event.run_id)
            found = trace.get_current_span(context).get_span_context()
        return trace_fields(found)

    def _context(self, run_id: str) -> Context:
        """Return the trace context that was stored with a run; an empty one if it was started untraced."""
        found = self._runs.get(run_id)
        if found is None:
            origins = (_origin(runtime, run_id) for runtime in list(self._runtimes))
            origin = next((one for one in origins if one), {})
            found = self._runs[run_id] = _PROPAGATOR.extract(origin, Context())
        return found


def trace_fields(context: SpanContext) -> dict[str, str]:
    """Return the ids of a span as log lines have them; nothing for no span."""
    if not context.is_valid:
        return {}
    return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}


def add_trace_ids(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the current span's ``trace_id`` and ``span_id`` to a line of the program's own: a structlog processor."""
    for name, text in trace_fields(trace.get_current_span().get_span_context()).items():
        event_dict.setdefault(name, text)
    return event_dict


def _unheard(*_: object) -> None:
    return None


@contextmanager
def _span(tracer: Tracer, name: str, *, here: bool, **settings: Any) -> Iterator[Span]:
    span = tracer.start_span(name, **settings)
    try:
        # An executor's error is no exception by now; what does come up here is the end of a start that was refused.
        with trace.use_span(span) if here else nullcontext():
            yield span
    finally:
        span.end()


def _origin(runtime: Any, run_id: str) -> dict[str, str]:
    engine = runtime._parts.engine
    with engine.read() as tx:
        found: dict[str, str] = engine.history.origin(tx, run_id)
    return found


def _attributes(step: LeasedStep) -> dict[str, Any]:
    return {
        "messaging.system": "flowkit",
        "messaging.operation.type": "process",
        "messaging.destination.name": step.queue,
        "flowkit.package": step.package,
        "flowkit.run.id": step.run_id,
        "flowkit.step.id": step.id,
        "flowkit.kind": step.kind,
        "flowkit.attempt": step.attempt,
        "flowkit.worker.id": step.lease.worker_id,
    }


def _failed(span: Span, error: StepError) -> None:
    said = error.code if error.message == error.code else f"{error.code}: {error.message}"
    span.set_status(Status(StatusCode.ERROR, said))
    span.set_attribute("error.type", error.code)
    told = {"exception.type": error.code, "exception.message": error.message}
    span.add_event("exception", {**told, "exception.stacktrace": error.traceback or ""})


class _Newest(Generic[T]):
    """A mapping that keeps the newest *size* entries; threads share it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def __setitem__(self, key: Hashable, value: T) -> None:
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def get(self, key: Hashable) -> T | None:
        with self._lock:
            return self._kept.get(key)
