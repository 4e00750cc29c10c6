"""Prometheus: counters and histograms of what a Runtime does, and gauges read from its store at each scrape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flowkit.clock import SECOND
from flowkit.errors import ConfigError, FlowkitError, MissingExtra
from flowkit.model.events import Event
from flowkit.model.stats import QueueInfo
from flowkit.runtime.instruments import Instrument
from flowkit.runtime.presence import live_workers

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, start_http_server
    from prometheus_client.metrics_core import GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise MissingExtra("flowkit.prometheus", "prometheus", "Without it there are logs and events.") from missing

__all__ = ["BUCKETS", "Prometheus", "start_http_server"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400)
"""Seconds: a step may take milliseconds, a run days."""

_OUTCOMES = {
    "step_succeeded": "succeeded",
    "step_retried": "retried",
    "step_failed": "failed",
    "step_canceled": "canceled",
}


class Prometheus(Instrument):
    """Measures what a Runtime does: ``Runtime(..., observers=[Prometheus()])``.

    Counters and histograms tell what this process did; the gauges of queues and workers tell what the store holds for
    all of them, so that one process of a store is enough to see them. Labels are names of packages, kinds and queues,
    never ids.

    Args:
        registry: where the metrics are registered; one registry takes one.
        buckets: upper bounds of the histograms, in seconds.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, buckets: Sequence[float] = BUCKETS) -> None:
        self._registry = registry
        self._gauges: _StoreGauges | None = None

        def counter(name: str, said: str, *labels: str) -> Counter:
            return Counter(f"flowkit_{name}", said, labels, registry=registry)

        def histogram(name: str, said: str, *labels: str) -> Histogram:
            return Histogram(f"flowkit_{name}", said, labels, registry=registry, buckets=buckets)

        self._started = counter("runs_started", "Runs that this process started.", "package")
        self._finished = counter("runs_finished", "Runs whose end this process stored.", "package", "status")
        self._attempts = counter("attempts", "Attempts that were settled.", "kind", "queue", "outcome")
        self._leases = counter("leases", "Leases that this process took.", "queue")
        self._expired = counter("leases_expired", "Expired leases that this process found.", "queue")
        self._limited = counter("queue_rate_limited", "Times that a rate limit held a queue up.", "queue")
        self._run_seconds = histogram("run_duration_seconds", "From a run's creation to its end.", "package")
        self._attempt_seconds = histogram("attempt_duration_seconds", "From an attempt's lease to its end.", "kind")
        self._wait_seconds = histogram("step_wait_seconds", "From when a step could start to its lease.", "queue")

    def opened(self, runtime: Any) -> None:
        """Read the gauges from this Runtime's store.

        Raises:
            ConfigError: it serves another Runtime, which is open still.
        """
        if self._gauges is not None:
            raise ConfigError("Prometheus: it measures another Runtime already; make one for each, each in a registry")
        self._gauges = _StoreGauges(runtime)
        self._registry.register(self._gauges)

    def closed(self, runtime: Any) -> None:
        """Read the gauges no more."""
        if self._gauges is not None and self._gauges.runtime is runtime:
            self._registry.unregister(self._gauges)
            self._gauges = None

    def __call__(self, event: Event) -> None:
        """Count an event."""
        match event.name:
            case "run_created":
                self._started.labels(event.fields["package"]).inc()
            case "run_finished":
                self._run_finished(event)
            case "step_leased":
                self._leases.labels(event.queue).inc()
                self._wait_seconds.labels(event.queue).observe(event.fields["wait"] / SECOND)
            case "lease_expired":
                self._expired.labels(event.queue).inc()
                self._attempts.labels(event.kind, event.queue, "lost").inc()
            case "queue_rate_limited":
                self._limited.labels(event.queue).inc()
            case "step_succeeded" | "step_retried" | "step_failed" | "step_canceled":
                self._attempt_ended(event)

    def _run_finished(self, event: Event) -> None:
        package = event.fields["package"]
        self._finished.labels(package, event.fields["status"].value).inc()
        self._run_seconds.labels(package).observe(event.fields["duration"] / SECOND)

    def _attempt_ended(self, event: Event) -> None:
        took = event.fields.get("duration")
        if took is None:
            return  # a step that ended without an attempt of its own, or with one that was counted as lost
        self._attempts.labels(event.kind, event.queue, _OUTCOMES[event.name]).inc()
        self._attempt_seconds.labels(event.kind).observe(took / SECOND)


class _StoreGauges(Collector):
    """Reads how queues and workers stand whenever it is asked; a store that cannot be read is told of as down."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime

    def describe(self) -> list[Metric]:
        """Name nothing beforehand, so that registering reads nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the gauges."""
        try:
            queues, workers = self.runtime.queues(), self._live_workers()
        except FlowkitError:
            yield GaugeMetricFamily("flowkit_store_up", "Whether the store could be read.", 0)
            return
        yield GaugeMetricFamily("flowkit_store_up", "Whether the store could be read.", 1)
        yield GaugeMetricFamily("flowkit_workers", "Workers of the store that are alive.", workers)
        flying = sum(crew.in_flight for crew in list(self.runtime._parts.crews))
        yield GaugeMetricFamily("flowkit_attempts_in_flight", "Attempts that run in this process.", flying)
        hung = sum(len(crew.hung) for crew in list(self.runtime._parts.crews))
        yield GaugeMetricFamily("flowkit_attempts_hung", "Attempts that were given up and hold a slot.", hung)
        yield from _queue_gauges(queues)

    def _live_workers(self) -> int:
        parts = self.runtime._parts
        with parts.engine.read() as tx:
            announced = parts.engine.workers.all(tx)
        return len(live_workers(announced, parts.clock.now()))


def _queue_gauges(queues: Sequence[QueueInfo]) -> Iterator[Metric]:
    steps = GaugeMetricFamily("flowkit_queue_steps", "Open steps.", labels=["queue", "status"])
    oldest = _by_queue("oldest_ready_seconds", "How long the step that waits longest might have been leased.")
    paused = _by_queue("paused", "Whether it is paused.")
    limit = _by_queue("max_workers", "How many steps may run at once, where there is a limit.")
    tokens = _by_queue("tokens", "How many steps may start before the rate limit holds them up, where there is one.")
    for queue in queues:
        counts = {"ready": queue.ready, "delayed": queue.delayed, "running": queue.running, "pending": queue.pending}
        for status, count in counts.items():
            steps.add_metric([queue.name, status], count)
        oldest.add_metric([queue.name], (queue.oldest_ready_age or 0) / SECOND)
        paused.add_metric([queue.name], int(queue.paused))
        if queue.max_workers is not None:
            limit.add_metric([queue.name], queue.max_workers)
        if queue.tokens is not None:
            tokens.add_metric([queue.name], queue.tokens)
    yield from (steps, oldest, paused, limit, tokens)


def _by_queue(name: str, said: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"flowkit_queue_{name}", said, labels=["queue"])
