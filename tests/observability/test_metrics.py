"""Metrics with Prometheus' own library: what was done is counted, and how the store stands is read at each scrape."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from flowkit import ConfigError, QueueConfig, RateLimit, Retry, Runtime, executor
from flowkit.prometheus import Prometheus
from flowkit.testing import Crash, FakeClock, WorkerCrashed
from tests.observability.test_tracing import open_runtime
from tests.stories.telling import Meeting, eventually, start


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def measured(tmp_path: Path, flowkit_clock: FakeClock, registry: CollectorRegistry) -> Iterator[Runtime]:
    limits = {"scanner": QueueConfig(max_workers=2, rate_limit=RateLimit(1, burst=3))}
    with open_runtime(tmp_path, flowkit_clock, Prometheus(registry), queues=limits) as runtime:
        yield runtime


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"flowkit_{name}", labels)


def test_runs_are_counted_by_package_and_by_how_they_ended(measured: Runtime, registry: CollectorRegistry) -> None:
    for pages in (1, 2, 0):
        measured.start_run("book", pages)
    measured.drain()
    assert value(registry, "runs_started_total", package="book") == 3
    assert value(registry, "runs_finished_total", package="book", status="succeeded") == 2
    assert value(registry, "runs_finished_total", package="book", status="failed") == 1


def test_attempts_are_counted_by_kind_queue_and_outcome(
    measured: Runtime, registry: CollectorRegistry, flowkit_clock: FakeClock
) -> None:
    measured.start_run("book", 13)
    measured.drain()
    flowkit_clock.advance(10)
    measured.drain()
    scans = {"kind": "book/scan", "queue": "scanner"}
    assert value(registry, "attempts_total", **scans, outcome="retried") == 1
    assert value(registry, "attempts_total", **scans, outcome="succeeded") == 1
    assert value(registry, "attempts_total", kind="book/read", queue="default", outcome="succeeded") == 1
    assert value(registry, "leases_total", queue="scanner") == 2
    assert value(registry, "attempt_duration_seconds_count", kind="book/scan") == 2


def test_a_step_that_is_canceled_before_it_began_is_no_attempt(measured: Runtime, registry: CollectorRegistry) -> None:
    run = measured.start_run("book", 2)
    measured.cancel_run(run.id)
    assert value(registry, "runs_finished_total", package="book", status="canceled") == 1
    assert "flowkit_attempts_total{" not in generate_latest(registry).decode()


def test_waits_and_durations_are_those_of_the_engines_clock(
    measured: Runtime, registry: CollectorRegistry, flowkit_clock: FakeClock
) -> None:
    measured.start_run("book", 2)
    flowkit_clock.advance(45)
    measured.drain()
    assert value(registry, "step_wait_seconds_sum", queue="scanner") == 45
    assert value(registry, "run_duration_seconds_sum", package="book") == 45
    assert value(registry, "run_duration_seconds_bucket", package="book", le="30.0") == 0
    assert value(registry, "run_duration_seconds_bucket", package="book", le="60.0") == 1


def test_the_lease_of_a_dead_worker_is_counted_with_its_attempt(
    measured: Runtime, registry: CollectorRegistry, flowkit_clock: FakeClock
) -> None:
    measured.start_run("book", 2)
    crash = Crash(measured)
    crash.at("after_lease")
    with pytest.raises(WorkerCrashed):
        measured.drain()
    flowkit_clock.advance(31)
    measured.drain()
    assert value(registry, "leases_expired_total", queue="scanner") == 1
    assert value(registry, "attempts_total", kind="book/scan", queue="scanner", outcome="lost") == 1
    assert value(registry, "attempt_duration_seconds_count", kind="book/scan") is None


def test_the_gauges_tell_how_the_store_stands_when_it_is_scraped(
    measured: Runtime, registry: CollectorRegistry, flowkit_clock: FakeClock
) -> None:
    measured.start_runs("book", [1, 2])
    measured.pause_queue("scanner")
    flowkit_clock.advance(7)
    statuses = {
        status: value(registry, "queue_steps", queue="scanner", status=status)
        for status in ("ready", "delayed", "running", "pending")
    }
    assert statuses == {"ready": 2, "delayed": 0, "running": 0, "pending": 0}
    assert value(registry, "queue_steps", queue="default", status="pending") == 2
    assert value(registry, "queue_oldest_ready_seconds", queue="scanner") == 7
    assert value(registry, "queue_paused", queue="scanner") == 1
    assert value(registry, "queue_max_workers", queue="scanner") == 2
    assert value(registry, "queue_tokens", queue="scanner") == 3
    assert value(registry, "queue_max_workers", queue="default") is None
    assert value(registry, "store_up") == 1

    measured.resume_queue("scanner")
    measured.drain()
    assert value(registry, "queue_steps", queue="scanner", status="ready") == 0
    assert value(registry, "queue_oldest_ready_seconds", queue="scanner") == 0


def test_workers_are_seen_while_they_live(measured: Runtime, registry: CollectorRegistry) -> None:
    assert value(registry, "workers") == 0
    with measured.workers():
        run = measured.start_run("book", 2)
        run.wait()
        assert value(registry, "workers") == 1
    assert value(registry, "workers") == 0


def test_attempts_that_were_given_up_are_counted_while_they_hold_a_slot(
    measured: Runtime, registry: CollectorRegistry, flowkit_clock: FakeClock
) -> None:
    meeting = Meeting()

    @executor("slow", timeout=5, retry=Retry(max_attempts=1))
    def slow() -> None:
        meeting.wait()

    run = start(measured, lambda run: run.step("a", slow), slow)
    with measured.workers():
        meeting.expect()
        assert value(registry, "attempts_hung") == 0
        flowkit_clock.advance(5)
        run.wait(timeout=30)
        assert (value(registry, "attempts_hung"), value(registry, "attempts_in_flight")) == (1, 1)
        meeting.let_go()
        eventually(lambda: value(registry, "attempts_hung") == 0)


def test_what_other_processes_do_is_in_the_gauges_but_not_in_the_counters(
    measured: Runtime, registry: CollectorRegistry, tmp_path: Path, flowkit_clock: FakeClock
) -> None:
    with open_runtime(tmp_path, flowkit_clock) as other:
        other.start_run("book", 2)
    assert value(registry, "queue_steps", queue="scanner", status="ready") == 1
    assert value(registry, "runs_started_total", package="book") is None


def test_no_label_is_an_id_and_every_name_keeps_the_conventions(
    measured: Runtime, registry: CollectorRegistry
) -> None:
    measured.start_run("book", 2, run_id="the-run")
    measured.drain()
    text = generate_latest(registry).decode()
    assert "the-run" not in text
    families: list[Any] = list(text_string_to_metric_families(text))
    assert {label for family in families for sample in family.samples for label in sample.labels} <= {
        "package",
        "kind",
        "queue",
        "status",
        "outcome",
        "le",
    }
    assert all(family.name.startswith("flowkit_") and family.documentation for family in families)
    durations = [family.name for family in families if family.type == "histogram"]
    assert durations
    assert [name for name in durations if not name.endswith("_seconds")] == []


def test_a_store_that_cannot_be_read_is_down_and_the_rest_is_told(
    measured: Runtime, registry: CollectorRegistry
) -> None:
    measured.start_run("book", 2)
    measured._parts.engine.db.close()
    assert value(registry, "store_up") == 0
    assert value(registry, "runs_started_total", package="book") == 1


def test_a_closed_runtime_leaves_the_counters_and_takes_its_gauges_along(
    measured: Runtime, registry: CollectorRegistry
) -> None:
    measured.start_run("book", 2)
    measured.close()
    assert value(registry, "store_up") is None
    assert value(registry, "runs_started_total", package="book") == 1


def test_one_registry_measures_one_runtime_at_a_time(
    registry: CollectorRegistry, tmp_path: Path, flowkit_clock: FakeClock
) -> None:
    metrics = Prometheus(registry)
    with open_runtime(tmp_path, flowkit_clock, metrics) as first:
        with pytest.raises(ConfigError, match="each in a registry"):
            open_runtime(tmp_path, flowkit_clock, metrics)
        assert value(registry, "store_up") == 1
        first.close()
    with open_runtime(tmp_path, flowkit_clock, metrics):
        assert value(registry, "store_up") == 1


def test_the_metrics_are_served_over_http(measured: Runtime, registry: CollectorRegistry) -> None:
    measured.run("book", 2)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
    assert 'flowkit_runs_finished_total{package="book",status="succeeded"} 1.0' in text
    assert 'flowkit_queue_steps{queue="scanner",status="ready"} 0.0' in text


PAGE = Path(__file__).resolve().parents[2] / "docs" / "observability.md"


def test_the_manual_and_its_alerts_name_metrics_that_there_are(
    measured: Runtime, registry: CollectorRegistry, flowkit_clock: FakeClock
) -> None:
    told = set(re.findall(r"\bflowkit_[a-z_]+", PAGE.read_text(encoding="utf-8")))
    families: list[Any] = list(text_string_to_metric_families(generate_latest(registry).decode()))
    # A counter is a family without its suffix, and the page speaks of a histogram's buckets too.
    there = {family.name for family in families} | {f"{family.name}_total" for family in families}
    assert {name.removesuffix("_bucket") for name in told} - there == set()
    assert {family.name for family in families} - {name.removesuffix("_total") for name in told} == set()
