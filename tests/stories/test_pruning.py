"""Pruning removes ended runs with all that belongs to them, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from flowkit import ConfigError, RunNotFound, Runtime, StepContext, StepNotFound, executor
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import after_read, echo, fail, start


@executor("hand-over")
def hand_over(step: StepContext, input: int = 1) -> int:
    step.record("pages", "one", 1)
    step.artifact("it", b"1")
    step.emit(None, echo, 1)
    return 1


@pytest.fixture
def ended(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> dict[str, str]:
    """End three runs, one each way, ten seconds ago; another is open."""
    runs = {
        "succeeded": start(flowkit_runtime, lambda run: run.step("a", hand_over), hand_over, echo, fail).id,
        "failed": start(flowkit_runtime, lambda run: run.step("a", fail)).id,
    }
    flowkit_runtime.drain()
    runs["canceled"] = start(flowkit_runtime, lambda run: run.step("a", echo, 1)).id
    flowkit_runtime.cancel_run(runs["canceled"])
    runs["open"] = start(flowkit_runtime, lambda run: run.step("a", echo, 1)).id
    flowkit_clock.advance(10)
    return runs


def left(runtime: Runtime, runs: dict[str, str]) -> list[str]:
    return [name for name, run_id in runs.items() if runtime.workflow(run_id) is not None]


def test_ended_runs_go_with_all_that_belongs_to_them(flowkit_runtime: Runtime, ended: dict[str, str]) -> None:
    assert flowkit_runtime.prune(older_than=9) == 3
    assert left(flowkit_runtime, ended) == ["open"]
    assert len(flowkit_runtime.records(collection="pages")) == 0
    with pytest.raises(RunNotFound):
        flowkit_runtime.artifact(ended["succeeded"], "a:artifact:001")
    flowkit_runtime.drain()
    assert flowkit_runtime.handle(ended["open"]).status() == "succeeded"


@pytest.mark.parametrize("older_than", [9.9, timedelta(seconds=9), 0])
def test_what_ended_long_enough_ago_goes(flowkit_runtime: Runtime, ended: dict[str, str], older_than: Any) -> None:
    assert flowkit_runtime.prune(older_than=older_than) == 3


@pytest.mark.parametrize("older_than", [10, timedelta(minutes=1), datetime(2020, 1, 1, tzinfo=timezone.utc)])
def test_what_ended_later_stays(flowkit_runtime: Runtime, ended: dict[str, str], older_than: Any) -> None:
    assert flowkit_runtime.prune(older_than=older_than) == 0


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [(["failed"], ["succeeded", "canceled", "open"]), ("succeeded", ["failed", "canceled", "open"])],
)
def test_only_runs_that_ended_as_is_said_go(
    flowkit_runtime: Runtime, ended: dict[str, str], statuses: Any, expected: list[str]
) -> None:
    assert flowkit_runtime.prune(older_than=0, statuses=statuses) == 1
    assert left(flowkit_runtime, ended) == expected


def test_no_more_go_than_is_said(flowkit_runtime: Runtime, ended: dict[str, str]) -> None:
    assert [flowkit_runtime.prune(older_than=0, limit=2) for _ in range(3)] == [2, 1, 0]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"older_than": -1}, "older_than"),
        ({"older_than": float("nan")}, "older_than"),
        ({"older_than": "old"}, "older_than"),
        ({"older_than": datetime(2020, 1, 1)}, "older_than"),  # noqa: DTZ001
        ({"older_than": 0, "statuses": ["running"]}, "statuses"),
        ({"older_than": 0, "statuses": ["gone"]}, "statuses"),
        ({"older_than": 0, "limit": 0}, "limit"),
        ({"older_than": 0, "limit": "all"}, "limit"),
    ],
)
def test_an_argument_out_of_range_is_named(flowkit_runtime: Runtime, given: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        flowkit_runtime.prune(**given)


def test_the_id_of_a_pruned_run_is_free_again(flowkit_runtime: Runtime, flowkit_clock: FakeClock) -> None:
    start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo, run_id="once")
    flowkit_runtime.drain()
    flowkit_clock.advance(1)
    flowkit_runtime.prune(older_than=0)
    assert start(flowkit_runtime, lambda run: run.step("a", echo, 2), run_id="once").created


READS: dict[str, Callable[[Runtime, str], Any]] = {
    "result": lambda runtime, run: runtime.result(run, "page[0]"),
    "explain": lambda runtime, run: runtime.explain(run, "page[0]").reason,
    "output": lambda runtime, run: runtime.handle(run).result(timeout=0),
}


@pytest.mark.parametrize("nth", range(1, 9))
@pytest.mark.parametrize("read", READS)
def test_whoever_reads_of_a_run_that_is_pruned_just_then_reads_all_of_it_or_that_it_is_gone(
    flowkit_runtime: Runtime, open_runtime: OpenRuntime, flowkit_clock: FakeClock, read: str, nth: int
) -> None:
    run = start(flowkit_runtime, lambda run: run.map("page", hand_over, [1, 2]), hand_over, echo)
    flowkit_runtime.drain()
    flowkit_clock.advance(1)
    whole, other = READS[read](flowkit_runtime, run.id), open_runtime()

    with after_read(nth, lambda: other.prune(older_than=0)):
        try:
            found = READS[read](flowkit_runtime, run.id)
        except (RunNotFound, StepNotFound):
            return
    assert found == whole
