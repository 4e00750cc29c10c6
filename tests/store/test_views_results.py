"""What a step handed over is read back whole, and checked as it is read."""

from __future__ import annotations

from typing import Any

import pytest

from flowkit.errors import ConfigError, DataCorrupted, ResultNotFound, RunNotFound, StepNotFound
from flowkit.model.outputs import ArtifactRef, Record
from flowkit.model.plan import Plan
from flowkit.model.run import Page
from flowkit.model.states import StepStatus
from flowkit.model.step import StepResult
from flowkit.store.check import remove_guard
from flowkit.store.views_results import StoredOutput, StoredValue
from tests.store.clock import START
from tests.store.flow import Flow, again, artifact, failure, plan, record, step, success


def result(flow: Flow, step_id: str = "a", run_id: str = "r") -> StepResult | None:
    with flow.engine.read() as tx:
        return flow.engine.views.result(tx, run_id, step_id)


def records(flow: Flow, run_id: str | None = None, **options: Any) -> Page[Record]:
    with flow.engine.read() as tx:
        return flow.engine.views.records(tx, run_id, **{"collection": "pages", **options})


def damage(flow: Flow, table: str) -> None:
    with flow.engine.write() as tx:
        remove_guard(tx)
        tx.script(f"UPDATE {table} SET body = ?", (b'"other"',))


def test_a_result_is_data_and_the_text_it_was_stored_as(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.clock.advance(3)
    flow.do(success({"pages": [1, 2.5, None], "title": "\N{SNOWMAN}"}))
    found = result(flow)
    assert found is not None
    assert found.data == {"pages": [1, 2.5, None], "title": "\N{SNOWMAN}"}
    assert found.json == '{"pages": [1, 2.5, null], "title": "\\u2603"}'
    assert (found.status, found.error, found.completed_at) == (StepStatus.SUCCEEDED, None, START + 3_000_000)


def test_there_is_no_result_while_the_step_has_not_ended(flow: Flow) -> None:
    flow.start(plan(step("a"), step("b"), after={"b": ["a"]}), run_id="r")
    assert result(flow, "b") is None
    assert result(flow, "a") is None
    flow.lease_one()
    assert result(flow, "a") is None


def test_a_step_that_returned_nothing_has_a_result_without_data(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.do()
    found = result(flow)
    assert found is not None
    assert (found.status, found.data, found.json) == (StepStatus.SUCCEEDED, None, None)


def test_a_failed_step_has_a_result_that_says_why_and_a_canceled_one_a_result_without_error(flow: Flow) -> None:
    flow.start(plan(step("a"), step("b"), after={"b": ["a"]}), run_id="r")
    flow.do(failure("broken"))
    failed, canceled = result(flow, "a"), result(flow, "b")
    assert failed is not None
    assert canceled is not None
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.data) == (StepStatus.FAILED, "broken", None)
    assert (canceled.status, canceled.error) == (StepStatus.CANCELED, None)


def test_the_error_of_a_result_is_that_of_the_attempt_that_ended_the_step(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(again("first"))
    flow.do(failure("last"))
    found = result(flow)
    assert found is not None
    assert found.error is not None
    assert found.error.code == "last"


def test_a_result_lists_the_records_artifacts_and_steps_that_came_with_it(flow: Flow) -> None:
    flow.start(step("a"), step("b"), run_id="r")
    children = Plan((step("x[1]"), step("x[0]")))
    made = (record("pages", "2", {"n": 2}), record("errors", "1", "none"))
    files = (artifact("a:artifact:001", b"abc", name="scan", content_type="text/plain", metadata='{"dpi": 300}'),)
    flow.do(success(1, records=made, artifacts=files, emission=children))
    flow.do(success(1, records=(record("pages", "9", 9),), artifacts=(artifact("b:1", b"x"),)))
    found = result(flow)
    assert found is not None
    told = [(one.collection, one.key, one.data) for one in found.records]
    assert told == [("pages", "2", {"n": 2}), ("errors", "1", "none")]
    assert [(ref.id, ref.name, ref.size, ref.metadata) for ref in found.artifacts] == [
        ("a:artifact:001", "scan", 3, {"dpi": 300})
    ]
    assert found.emitted_ids == ("x[1]", "x[0]")


def test_a_repeated_dedup_key_is_listed_as_the_step_that_was_first(flow: Flow) -> None:
    flow.start(step("a"), step("b"), run_id="r")
    flow.do(success(emission=Plan((step("first", dedup_key="k"),))))
    flow.do(success(emission=Plan((step("again", dedup_key="k"), step("new")))))
    found = result(flow, "b")
    assert found is not None
    assert found.emitted_ids == ("first", "new")


def test_a_result_of_a_step_or_run_that_is_not_there_says_so(flow: Flow) -> None:
    flow.start(step("convert"), run_id="r")
    with pytest.raises(StepNotFound, match="did you mean 'convert'"):
        result(flow, "convrt")
    with pytest.raises(RunNotFound):
        result(flow, "convert", "nowhere")


@pytest.mark.parametrize("table", ["results", "records"])
def test_a_payload_that_was_altered_is_not_handed_out(flow: Flow, table: str) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(success(1, records=(record("pages", "1", 1),)))
    damage(flow, table)
    with pytest.raises(DataCorrupted, match="step 'a' of run 'r'"):
        result(flow)


def test_records_of_a_collection_are_listed_in_the_order_of_recording_over_all_runs(flow: Flow) -> None:
    flow.start(step("a"), step("b"), run_id="r1")
    flow.start(step("c"), run_id="r2")
    flow.do(success(records=(record("pages", "z", 1), record("other", "o", 0))), run="r1")
    flow.do(success(records=(record("pages", "y", 2),)), run="r2")
    flow.do(success(records=(record("pages", "x", 3), record("pages", "w", 4))), run="r1")
    told = [(one.run_id, one.step_id, one.key, one.data) for one in records(flow)]
    assert told == [("r1", "a", "z", 1), ("r2", "c", "y", 2), ("r1", "b", "x", 3), ("r1", "b", "w", 4)]
    assert [one.key for one in records(flow, "r1")] == ["z", "x", "w"]
    assert [one.key for one in records(flow, "r2", collection="other")] == []
    assert records(flow)[0].created_at == START


@pytest.mark.parametrize("run_id", [None, "r"])
def test_pages_of_records_follow_each_other(flow: Flow, run_id: str | None) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(success(records=tuple(record("pages", str(n), n) for n in range(5))))
    first = records(flow, run_id, limit=2)
    second = records(flow, run_id, limit=2, cursor=first.cursor)
    third = records(flow, run_id, limit=2, cursor=second.cursor)
    assert [[one.data for one in page] for page in (first, second, third)] == [[0, 1], [2, 3], [4]]
    assert third.cursor is None


def test_what_cannot_be_asked_of_records_is_refused_by_name(flow: Flow) -> None:
    with pytest.raises(ConfigError, match="records: limit"):
        records(flow, limit=10_001)
    with pytest.raises(ConfigError, match="records: cursor"):
        records(flow, cursor="nonsense")
    with pytest.raises(RunNotFound):
        records(flow, "nowhere")


def test_an_inline_artifact_is_read_with_its_bytes(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(success(artifacts=(artifact("scan", b"\x00\xff", content_type="image/png"),)))
    with flow.engine.read() as tx:
        found = flow.engine.views.artifact(tx, "r", "scan")
    assert (found.run_id, found.step_id, found.id, found.body, found.size) == ("r", "a", "scan", b"\x00\xff", 2)
    assert (found.kind, found.content_type, found.created_at) == ("inline-artifact", "image/png", START)


def test_an_external_artifact_is_read_without_bytes_though_two_steps_refer_to_it(flow: Flow) -> None:
    flow.start(step("a"), step("b"), run_id="r")
    for name in ("first", "second"):
        flow.do(success(artifacts=(artifact("", b"same", name=name, external=True),)))
    with flow.engine.read() as tx:
        both = flow.engine.views.artifacts(tx, "r")
        found = flow.engine.views.artifact(tx, "r", both[0].id)
    assert [ref.name for ref in both] == ["first", "second"]
    assert (found.step_id, found.body, found.id) == ("a", None, "sha256-" + found.sha256)


def test_artifacts_are_listed_for_a_run_or_for_one_step(flow: Flow) -> None:
    flow.start(step("a"), step("b"), run_id="r")
    flow.do(success(artifacts=(artifact("2", b""), artifact("1", b""))))
    flow.do(success(artifacts=(artifact("0", b""),)))
    with flow.engine.read() as tx:
        of_run, of_step = flow.engine.views.artifacts(tx, "r"), flow.engine.views.artifacts(tx, "r", "b")
        with pytest.raises(StepNotFound):
            flow.engine.views.artifacts(tx, "r", "c")
    assert [ref.id for ref in of_run] == ["2", "1", "0"]
    assert [type(ref) for ref in of_step] == [ArtifactRef]
    assert [ref.id for ref in of_step] == ["0"]


def test_an_artifact_that_is_not_there_or_was_altered_is_not_handed_out(flow: Flow) -> None:
    flow.start(step("a"), run_id="r")
    flow.do(success(artifacts=(artifact("scan", b"abc"),)))
    with flow.engine.read() as tx, pytest.raises(ResultNotFound, match="run 'r' has no artifact 'other'"):
        flow.engine.views.artifact(tx, "r", "other")
    damage(flow, "artifacts")
    with flow.engine.read() as tx, pytest.raises(DataCorrupted, match="artifact 'scan' of run 'r'"):
        flow.engine.views.artifact(tx, "r", "scan")


def test_the_output_of_a_run_is_the_step_it_names_the_list_it_names_or_nothing(flow: Flow) -> None:
    flow.start(step("a"), run_id="one", output='{"id": "a"}')
    flow.start(step("a"), run_id="early", output='{"id": "later"}')
    flow.start(step("a"), step("b"), step("c"), run_id="many", output='{"spans": [[2, 2], [0, 1]]}')
    flow.start(step("a"), run_id="empty", output='{"spans": []}')
    flow.start(step("a"), run_id="none")
    flow.finish(lambda leased: success(f"{leased.run_id} {leased.id}"))

    with flow.engine.read() as tx:
        one, early, many, empty, none = (
            flow.engine.views.output(tx, run) for run in ("one", "early", "many", "empty", "none")
        )
    assert one == StoredOutput(False, ["a"], {"a": StoredValue("work", b'"one a"')})
    assert early == StoredOutput(False, ["later"], {})
    assert empty == StoredOutput(True, [], {})
    assert none is None
    assert many is not None
    assert (many.many, many.step_ids) == (True, ["c", "a", "b"])
    assert {step_id: value.body for step_id, value in many.values.items()} == {
        "a": b'"many a"',
        "b": b'"many b"',
        "c": b'"many c"',
    }


def test_an_output_that_is_not_what_was_handed_over_is_refused(flow: Flow) -> None:
    flow.start(step("a"), run_id="r", output='{"id": "a"}')
    flow.do(success("handed over"))
    damage(flow, "results")

    with flow.engine.read() as tx, pytest.raises(DataCorrupted, match="result of step 'a' of run 'r'"):
        flow.engine.views.output(tx, "r")


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "x" * 300])
def test_an_id_that_no_step_can_have_has_no_result(flow: Flow, name: str) -> None:
    run = flow.start(step("a"))
    flow.do(success(1))
    with flow.engine.read() as tx:
        assert list(flow.engine.views.values(tx, run, [name])) == []
        assert list(flow.engine.views.values(tx, run, [name, "a"])) == ["a"]
