"""Runs are read one by one and in pages, newest first."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from flowkit.errors import ConfigError, RunNotFound
from flowkit.model.run import Page, Run, StepCounts
from flowkit.model.states import RunStatus
from flowkit.store import views_runs
from flowkit.store.views_runs import RunFilter
from tests.store.clock import START
from tests.store.flow import Flow, again, failure, plan, step, success


def listed(flow: Flow, *, limit: int = 100, cursor: str | None = None, **only: Any) -> Page[Run]:
    with flow.engine.read() as tx:
        return flow.engine.views.runs(tx, RunFilter(**only), limit=limit, cursor=cursor)


def ids(flow: Flow, **only: Any) -> list[str]:
    return [run.id for run in listed(flow, **only)]


def get(flow: Flow, run_id: str) -> Run | None:
    with flow.engine.read() as tx:
        return flow.engine.views.run(tx, run_id)


def test_a_run_is_read_back_with_all_that_is_known_of_it(flow: Flow) -> None:
    flow.start(step("a"), step("b"), run_id="r", package="book", name="Book 7", metadata={"id": 7}, data={"pages": 2})
    flow.clock.advance(1)
    flow.do()
    flow.clock.advance(1)
    flow.do(failure())
    assert get(flow, "r") == Run(
        id="r",
        package="book",
        status=RunStatus.FAILED,
        name="Book 7",
        metadata={"id": 7},
        created_at=START,
        started_at=START + 1_000_000,
        ended_at=START + 2_000_000,
        updated_at=START + 2_000_000,
        generation=0,
        steps=StepCounts(total=2, open=0, failed=1, canceled_by_run=0),
        input='{"pages": 2}',
    )


def test_a_run_that_is_not_there_is_none(flow: Flow) -> None:
    assert get(flow, "r") is None


def test_runs_are_listed_newest_first_without_their_inputs(flow: Flow) -> None:
    for name in "abc":
        flow.start(step("s"), run_id=name, data={"much": "x" * 1000})
    assert ids(flow) == ["c", "b", "a"]
    assert [run.input for run in listed(flow)] == [None, None, None]


def test_pages_follow_each_other_without_gap_or_overlap_while_runs_are_added(flow: Flow) -> None:
    for number in range(5):
        flow.start(step("s"), run_id=f"r{number}")
    first = listed(flow, limit=2)
    flow.start(step("s"), run_id="newer")
    second = listed(flow, limit=2, cursor=first.cursor)
    third = listed(flow, limit=2, cursor=second.cursor)
    assert [[run.id for run in page] for page in (first, second, third)] == [["r4", "r3"], ["r2", "r1"], ["r0"]]
    assert third.cursor is None


def test_a_page_that_holds_just_all_there_is_has_no_cursor(flow: Flow) -> None:
    flow.start(step("s"))
    flow.start(step("s"))
    assert listed(flow, limit=2).cursor is None


def test_runs_are_filtered_by_one_status_or_by_several(flow: Flow) -> None:
    flow.start(step("s"), run_id="done")
    flow.do()
    flow.start(step("s"), run_id="failed")
    flow.do(failure())
    flow.start(step("s"), run_id="running")
    flow.lease_one()
    flow.start(step("s"), run_id="pending")
    assert ids(flow, status="failed") == ["failed"]
    assert ids(flow, status=RunStatus.RUNNING) == ["running"]
    assert ids(flow, status=["pending", RunStatus.RUNNING]) == ["pending", "running"]
    assert ids(flow, status={"succeeded", "pending"}) == ["pending", "done"]
    assert ids(flow, status=[]) == []


def test_runs_are_filtered_by_package(flow: Flow) -> None:
    flow.start(step("s"), run_id="a", package="book")
    flow.start(step("s"), run_id="b", package="other")
    assert ids(flow, package="book") == ["a"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"id": 7}, ["int", "more"]),
        ({"id": "7"}, ["text"]),
        ({"id": 1}, ["one"]),
        ({"id": True}, ["true"]),
        ({"id": None}, ["null"]),
        ({"id": 7, "by": "x"}, ["more"]),
        ({"id": {"a": 1, "b": [2]}}, ["object"]),
        ({"id": {"a": 1}}, []),
        ({"other": 7}, []),
    ],
)
def test_runs_are_filtered_by_metadata_whose_values_are_equal_as_json(
    flow: Flow, wanted: dict[str, Any], found: list[str]
) -> None:
    stored: dict[str, Any] = {"int": 7, "text": "7", "one": 1, "true": True, "null": None, "object": {"b": [2], "a": 1}}
    for name, value in stored.items():
        flow.start(step("s"), run_id=name, metadata={"id": value})
    flow.start(step("s"), run_id="more", metadata={"by": "x", "id": 7})
    flow.start(step("s"), run_id="none")
    assert sorted(ids(flow, metadata=wanted)) == sorted(found)


def test_pages_of_runs_filtered_by_metadata_are_full_however_many_runs_are_read_at_once(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_runs, "_BATCH", 2)
    for number in range(8):
        flow.start(step("s"), run_id=f"r{number}", metadata={"even": number % 2 == 0})
    first = listed(flow, limit=3, metadata={"even": True})
    rest = listed(flow, limit=3, metadata={"even": True}, cursor=first.cursor)
    assert [[run.id for run in page] for page in (first, rest)] == [["r6", "r4", "r2"], ["r0"]]


def test_runs_are_filtered_by_when_they_were_created_until_excluded(flow: Flow) -> None:
    for number in range(4):
        flow.start(step("s"), run_id=f"r{number}")
        flow.clock.advance(1)
    created = datetime.fromtimestamp(START // 1_000_000, tz=timezone.utc)
    assert ids(flow, since=START + 1_000_000, until=START + 3_000_000) == ["r2", "r1"]
    assert ids(flow, since=created + timedelta(seconds=2)) == ["r3", "r2"]
    assert ids(flow, until=(created + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=5)))) == ["r0"]


@pytest.mark.parametrize("limit", [0, -1, 10_001, True, "5", 1.0, None])
def test_a_limit_out_of_range_is_refused_by_name(flow: Flow, limit: Any) -> None:
    with pytest.raises(ConfigError, match="runs: limit: expected an int from 1 to 10000"):
        listed(flow, limit=limit)


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


MADE_UP = [cursor_of(text) for text in ("steps:1", "runs:-1", "runs: 1", "runs:01", "runs:", f"runs:{2**64}", "runs:x")]


@pytest.mark.parametrize("cursor", ["", "x", "\N{SNOWMAN}", 7, cursor_of("runs:12") + "==", *MADE_UP])
def test_a_cursor_that_is_none_of_this_listing_is_refused(flow: Flow, cursor: Any) -> None:
    with pytest.raises(ConfigError, match="runs: cursor"):
        listed(flow, cursor=cursor)


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ({"status": "suceeded"}, "runs: status: .*did you mean 'succeeded'"),
        ({"status": ["ready"]}, "runs: status"),
        ({"since": datetime(2024, 1, 1)}, "runs: since: expected an aware datetime"),  # noqa: DTZ001
        ({"until": "now"}, "runs: until"),
        ({"metadata": {"x": object()}}, "runs: metadata"),
        ({"metadata": "x"}, "runs: metadata"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_by_name(flow: Flow, only: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        listed(flow, **only)


def test_the_history_of_a_run_is_read_in_order_and_without_gaps(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    flow.finish()
    with flow.engine.read() as tx:
        history = flow.engine.views.history(tx, run)
    assert [event.seq for event in history] == list(range(len(history)))
    told = [(event.name, event.step_id) for event in history if event.step_id]
    assert told == [("step_leased", "a"), ("step_succeeded", "a"), ("step_leased", "b"), ("step_succeeded", "b")]
    assert history[-1].name == "run_finished"


def test_the_failed_steps_of_a_run_are_those_that_made_it_fail_with_their_last_error(flow: Flow) -> None:
    steps = [step("a"), step("b", allow_failure=True), step("c"), step("d")]
    run = flow.start(plan(*steps, step("e"), after={"e": ["a"]}))
    flow.do(again("busy"))
    outcomes = {"a": failure("first"), "b": failure("allowed"), "c": failure("second"), "d": success()}
    flow.finish(lambda leased: outcomes[leased.id])
    with flow.engine.read() as tx:
        errors = flow.engine.views.failed_steps(tx, run)
    assert {step_id: error.code for step_id, error in errors.items()} == {"a": "first", "c": "second"}
    assert list(errors) == ["a", "c"]


@pytest.mark.parametrize("read", ["history", "output", "failed_steps", "steps", "artifacts"])
def test_reading_about_a_run_that_is_not_there_says_so(flow: Flow, read: str) -> None:
    with flow.engine.read() as tx, pytest.raises(RunNotFound, match="'nowhere'"):
        getattr(flow.engine.views, read)(tx, "nowhere")
