"""Listings: runs newest first, steps in declaration order, filtered, and a page at a time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from flowkit import (
    ConfigError,
    RunBuilder,
    RunHandle,
    RunNotFound,
    Runtime,
    StepContext,
    StepNotFound,
    executor,
    package,
)
from flowkit.testing import FakeClock
from tests.stories.telling import echo, fail, standing, start


@package("other")
def other(run: RunBuilder) -> None:
    run.step("a", echo, 1)


@pytest.fixture
def runs(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> list[RunHandle[Any]]:
    """Start five runs, a second apart: one succeeds, one fails, one is canceled, two wait, one of another package."""
    started = []
    for number in range(4):
        failing = number == 1
        describe = (lambda run: run.step("a", fail)) if failing else (lambda run: run.step("a", echo, 1))
        metadata = {"n": number, "even": number % 2 == 0}
        started.append(start(flowkit_runtime, describe, echo, fail, other, metadata=metadata))
        if number < 2:
            flowkit_runtime.drain()
        flowkit_clock.advance(1)
    flowkit_runtime.cancel_run(started[2].id)
    started.append(flowkit_runtime.start_run(other))
    return started


def places(runs: list[RunHandle[Any]], page: Any) -> list[int]:
    ids = [run.id for run in runs]
    return [ids.index(run.id) for run in page]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"status": "failed"}, [1]),
        ({"status": ["pending", "canceled"]}, [4, 3, 2]),
        ({"status": "running"}, []),
        ({"package": "other"}, [4]),
        ({"package": "nobody"}, []),
        ({"metadata": {"even": True}}, [2, 0]),
        ({"metadata": {"even": True, "n": 2}}, [2]),
        ({"metadata": {"even": 1}}, []),
        ({"metadata": {}}, [4, 3, 2, 1, 0]),
        ({"status": "succeeded", "metadata": {"n": 0}, "package": "story"}, [0]),
        ({"limit": 2}, [4, 3]),
    ],
)
def test_runs_are_listed_newest_first_and_filtered(
    flowkit_runtime: Runtime, runs: list[RunHandle[Any]], filters: dict[str, Any], expected: list[int]
) -> None:
    assert places(runs, flowkit_runtime.runs(**filters)) == expected


def test_runs_of_a_time_are_listed_up_to_its_end_excluded(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, runs: list[RunHandle[Any]]
) -> None:
    begun = flowkit_clock.now() - 4_000_000
    assert places(runs, flowkit_runtime.runs(since=begun + 1_000_000, until=begun + 3_000_000)) == [2, 1]
    instant = datetime.fromtimestamp(begun / 1_000_000, timezone.utc) + timedelta(seconds=3)
    assert places(runs, flowkit_runtime.runs(since=instant)) == [4, 3]


@pytest.mark.parametrize("filters", [{}, {"metadata": {"even": True}}, {"status": ["pending", "failed"]}])
def test_the_pages_of_a_listing_come_to_all_of_it(
    flowkit_runtime: Runtime, runs: list[RunHandle[Any]], filters: dict[str, Any]
) -> None:
    cursor, found = None, []
    while True:
        page = flowkit_runtime.runs(limit=1, cursor=cursor, **filters)
        found += places(runs, page)
        cursor = page.cursor
        if cursor is None:
            break
    assert found == places(runs, flowkit_runtime.runs(**filters))


def test_a_run_that_comes_while_pages_are_turned_shifts_none_of_them(
    flowkit_runtime: Runtime, runs: list[RunHandle[Any]]
) -> None:
    first = flowkit_runtime.runs(limit=2)
    flowkit_runtime.start_run(other)
    assert places(runs, flowkit_runtime.runs(limit=2, cursor=first.cursor)) == [2, 1]


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"status": "done"}, "status"),
        ({"limit": 0}, "limit"),
        ({"limit": "all"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"since": datetime(2024, 1, 1)}, "since"),  # noqa: DTZ001
        ({"until": "yesterday"}, "until"),
        ({"metadata": [1]}, "metadata"),
        ({"metadata": {"a": object()}}, "metadata"),
    ],
)
def test_a_filter_that_cannot_be_is_named(flowkit_runtime: Runtime, filters: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        flowkit_runtime.runs(**filters)


def test_steps_are_listed_by_status_and_a_page_at_a_time(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        run.map("page", echo, range(4))
        run.step("bad", fail) >> run.step("never", echo, 1)

    run = start(flowkit_runtime, describe, echo, fail)
    flowkit_runtime.drain()
    ids = ["page[0]", "page[1]", "page[2]", "page[3]", "bad", "never"]
    assert list(standing(flowkit_runtime, run.id)) == ids
    assert [step.id for step in flowkit_runtime.steps(run.id, status=["failed", "canceled"])] == ["bad", "never"]
    first = flowkit_runtime.steps(run.id, limit=4)
    rest = flowkit_runtime.steps(run.id, limit=4, cursor=first.cursor)
    assert [step.id for step in [*first, *rest]] == ids
    assert rest.cursor is None


def test_reads_of_what_is_not_there_are_refused(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("index", echo, 1), echo)
    for ask in (flowkit_runtime.steps, flowkit_runtime.history):
        with pytest.raises(RunNotFound):
            ask("nobody")
    with pytest.raises(RunNotFound):
        flowkit_runtime.records("nobody", collection="pages")
    for read in (
        flowkit_runtime.step,
        flowkit_runtime.attempts,
        flowkit_runtime.result,
        flowkit_runtime.explain,
        flowkit_runtime.retry_step,
    ):
        with pytest.raises(RunNotFound):
            read("nobody", "index")
        with pytest.raises(StepNotFound, match="did you mean 'index'"):
            read(run.id, "indx")


def test_the_nearest_step_is_named_also_where_a_run_has_thousands(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        run.map("page", echo, range(1000))
        run.step("index", echo, 1)
        run.map("scan", echo, range(1000))

    run = start(flowkit_runtime, describe, echo)
    for missing, near in (("indx", "index"), ("idex", "index"), ("scan[1000]", "scan[100]")):
        with pytest.raises(StepNotFound, match=re.escape(f"did you mean '{near}'")):
            flowkit_runtime.step(run.id, missing)


def test_a_run_counts_its_steps(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("a", echo, 1)
        run.step("b", fail)
        run.step("c", echo, 1, delay=60)

    run = start(flowkit_runtime, describe, echo, fail)
    flowkit_runtime.drain()
    stored = flowkit_runtime.workflow(run.id)
    assert stored is not None
    assert (stored.steps.total, stored.steps.open, stored.steps.failed) == (3, 1, 1)


def test_the_stats_of_a_store_count_what_is_in_it(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo)
    flowkit_runtime.drain()
    start(flowkit_runtime, lambda run: run.map("a", echo, range(3), queue="slow") and None)
    flowkit_clock.advance(2)
    stats = flowkit_runtime.stats()
    assert {status.value: count for status, count in stats.runs.items() if count} == {"pending": 1, "succeeded": 1}
    assert {status.value: count for status, count in stats.steps.items() if count} == {"ready": 3, "succeeded": 1}
    assert (stats.oldest_ready_age, stats.at) == (2_000_000, flowkit_clock.now())
    assert {queue.name: queue.ready for queue in flowkit_runtime.queues()} == {"default": 0, "slow": 3}


def test_ids_are_found_by_how_they_begin(flowkit_runtime: Runtime) -> None:
    for run_id in ("tea-2", "tea-1", "teapot", "te", "Tea-1", "tea%"):
        start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo, run_id=run_id)
    assert flowkit_runtime.run_ids("tea-") == ("tea-1", "tea-2")
    assert flowkit_runtime.run_ids("tea%") == ("tea%",)
    assert flowkit_runtime.run_ids("tea", limit=2) == ("tea%", "tea-1")
    assert len(flowkit_runtime.run_ids()) == 6
    assert flowkit_runtime.run_ids("coffee") == ()
    with pytest.raises(ConfigError, match="run_ids: limit"):
        flowkit_runtime.run_ids(limit=0)
    with pytest.raises(ConfigError, match="run_ids: prefix"):
        flowkit_runtime.run_ids(7)  # type: ignore[arg-type]


def test_what_any_process_registered_is_in_the_catalog(flowkit_runtime: Runtime) -> None:
    flowkit_runtime.register_executor(echo)
    flowkit_runtime.register_package(other)
    recorded = flowkit_runtime.catalog()
    assert [(kind.kind, kind.qualname) for kind in recorded.kinds] == [("echo", "echo")]
    assert [(package.name, package.module) for package in recorded.packages] == [("other", other.__module__)]


def test_artifacts_are_listed_by_run_and_by_step(flowkit_runtime: Runtime) -> None:
    @executor("draw")
    def draw(step: StepContext, name: str) -> None:
        step.artifact(f"{name}.svg", b"<svg/>", id=name)

    run = start(flowkit_runtime, lambda run: run.map("draw", draw, ["fox", "owl"]) and None, draw)
    assert flowkit_runtime.artifacts(run.id) == ()
    flowkit_runtime.drain()
    assert [one.id for one in flowkit_runtime.artifacts(run.id)] == ["fox", "owl"]
    assert [one.name for one in flowkit_runtime.artifacts(run.id, "draw[1]")] == ["owl.svg"]
    with pytest.raises(StepNotFound):
        flowkit_runtime.artifacts(run.id, "draw[2]")
