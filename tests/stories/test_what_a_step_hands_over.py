"""Records, artifacts, projections and progress: handed over by a step, seen when its result is."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from flowkit import (
    ArtifactRef,
    FileArtifactStore,
    Permanent,
    ResultNotFound,
    Retryable,
    Runtime,
    SQLiteProjectionStore,
    StepContext,
    executor,
)
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import Meeting, code_of, echo, eventually, start


@executor("number")
def number(n: int) -> int:
    return n


def handed_over(runtime: Runtime, hand_over: Any) -> str:
    """Run one step, ``a``, that hands something over; returns the run's id."""

    @executor("hand-over")
    def handing(step: StepContext) -> None:
        hand_over(step)

    run = start(runtime, lambda run: run.step("a", handing), handing, number)
    runtime.drain()
    return run.id


def test_records_are_listed_in_the_order_in_which_they_were_made(flowkit_runtime: Runtime) -> None:
    def hand_over(step: StepContext) -> None:
        for number in range(5):
            step.record("pages", f"page-{number}", {"number": number})
        step.record("others", "one", [1])

    run_id = handed_over(flowkit_runtime, hand_over)
    first = flowkit_runtime.records(run_id, collection="pages", limit=3)
    rest = flowkit_runtime.records(run_id, collection="pages", limit=3, cursor=first.cursor)
    assert [record.data["number"] for record in [*first, *rest]] == [0, 1, 2, 3, 4]
    assert rest.cursor is None
    assert [(record.run_id, record.step_id, record.key) for record in flowkit_runtime.records(collection="others")] == [
        (run_id, "a", "one")
    ]


def test_a_second_record_of_one_key_replaces_the_first(flowkit_runtime: Runtime) -> None:
    def hand_over(step: StepContext) -> None:
        step.record("pages", "one", 1)
        step.record("pages", "one", 2)

    run_id = handed_over(flowkit_runtime, hand_over)
    assert [record.data for record in flowkit_runtime.records(run_id, collection="pages")] == [2]


@pytest.mark.parametrize(
    ("hand_over", "code"),
    [
        (lambda step: step.record("", "key", 1), "executor_error"),
        (lambda step: step.record("pages", " ", 1), "executor_error"),
        (lambda step: step.record("pages", "key", float("nan")), "invalid_result"),
        (lambda step: step.record("pages", "key", "x" * 1_048_577), "invalid_result"),
        (lambda step: step.artifact("", b""), "executor_error"),
        (lambda step: step.artifact("big", b"x" * 1_048_577), "executor_error"),
        (lambda step: [step.artifact("a", b"", id="x"), step.artifact("b", b"", id="x")], "executor_error"),
        (lambda step: step.artifact("a", b"", metadata={"n": float("nan")}), "invalid_result"),
        (lambda step: step.store_artifact("a", b""), "executor_error"),
        (lambda step: step.input(list[int]), "invalid_input"),
        (lambda step: step.emit("child", number, "a text"), "graph_error"),
        (lambda step: step.map("child", number, [1, "a text"]), "graph_error"),
        (lambda step: step.projection("p"), "executor_error"),
        (lambda step: step.progress(float("nan")), "executor_error"),
        (lambda step: step.artifact("page.txt", 5), "executor_error"),
        (lambda step: step.artifact("page.txt", Path("page.txt")), "executor_error"),
        (lambda step: step.progress("half"), "executor_error"),
        (lambda step: step.progress(1, total=object()), "executor_error"),
    ],
)
def test_what_cannot_be_handed_over_fails_the_step(flowkit_runtime: Runtime, hand_over: Any, code: str) -> None:
    run_id = handed_over(flowkit_runtime, hand_over)
    assert code_of(flowkit_runtime, run_id, "a") == code


def test_an_inline_artifact_is_read_back_with_all_that_was_said_of_it(flowkit_runtime: Runtime) -> None:
    ids: list[str] = []

    def hand_over(step: StepContext) -> None:
        ids.append(step.artifact("page.txt", "Grüße", "text/plain", metadata={"page": 1}))
        ids.append(step.artifact("raw.bin", b"\x00\xff", id="raw", kind="dump"))

    run_id = handed_over(flowkit_runtime, hand_over)
    assert ids == ["a:artifact:001", "raw"]
    page, raw = (flowkit_runtime.artifact(run_id, one) for one in ids)
    assert (page.name, page.body, page.content_type, page.kind) == (
        "page.txt",
        "Grüße".encode(),
        "text/plain",
        "inline-artifact",
    )
    assert (page.size, page.metadata, page.run_id, page.step_id) == (7, {"page": 1}, run_id, "a")
    assert (raw.body, raw.kind) == (b"\x00\xff", "dump")
    result = flowkit_runtime.result(run_id, "a")
    assert result is not None
    assert [ref.id for ref in result.artifacts] == ids


NO_WORDS = [b"text/plain", 5, True, math.nan, "a\0b", "\ud800", "x" * 201, ["a"], 2**70]


@pytest.mark.parametrize("word", NO_WORDS, ids=ascii)
@pytest.mark.parametrize("field", ["kind", "content_type"])
def test_what_is_no_word_about_an_artifact_is_refused_where_it_is_said(
    open_runtime: OpenRuntime, tmp_path: Path, field: str, word: Any
) -> None:
    runtime = open_runtime(artifact_store=FileArtifactStore(tmp_path / "artifacts"))
    said: list[str] = []

    def hand_over(step: StepContext) -> None:
        for call in (step.artifact, step.store_artifact):
            with pytest.raises(ValueError, match=f"artifact: {field}: expected") as told:
                call("name", b"", **{field: word})
            said.append(str(told.value))
            call("name", b"", **{field: ""})

    run_id = handed_over(runtime, hand_over)
    assert len(said) == 2
    assert [ref.content_type for ref in runtime.artifacts(run_id)] == [None, None]


def test_the_metadata_of_an_artifact_is_a_dict(flowkit_runtime: Runtime) -> None:
    given: Any = [1]
    run_id = handed_over(flowkit_runtime, lambda step: step.artifact("name", b"", metadata=given))
    assert code_of(flowkit_runtime, run_id, "a") == "invalid_result"


def test_the_artifact_of_a_step_that_another_step_has_taken_is_a_conflict(flowkit_runtime: Runtime) -> None:
    @executor("hand-over")
    def handing(step: StepContext) -> None:
        step.artifact("it", b"", id="shared")

    run = start(flowkit_runtime, lambda run: run.step("a", handing) >> run.step("b", handing), handing)
    flowkit_runtime.drain()
    assert code_of(flowkit_runtime, run.id, "b") == "artifact_conflict"


def test_an_artifact_that_is_not_there_is_refused(flowkit_runtime: Runtime) -> None:
    run_id = handed_over(flowkit_runtime, lambda step: None)
    with pytest.raises(ResultNotFound):
        flowkit_runtime.artifact(run_id, "nothing")


@pytest.mark.parametrize("form", ["bytes", "file", "path"])
def test_a_stored_artifact_of_any_size_is_a_reference(open_runtime: OpenRuntime, tmp_path: Path, form: str) -> None:
    body = b"0123456789" * 300_000
    (tmp_path / "big").write_bytes(body)
    bodies: dict[str, Any] = {"bytes": body, "file": io.BytesIO(body), "path": tmp_path / "big"}
    store = FileArtifactStore(tmp_path / "artifacts")
    runtime = open_runtime(artifact_store=store)
    refs: list[ArtifactRef] = []
    run_id = handed_over(runtime, lambda step: refs.append(step.store_artifact("big.bin", bodies[form], "image/png")))
    assert (refs[0].kind, refs[0].size, refs[0].id.startswith("sha256-")) == ("external-artifact-ref", 3_000_000, True)
    found = runtime.artifact(run_id, refs[0].id)
    assert (found.body, found.name, found.sha256) == (None, "big.bin", refs[0].sha256)
    with store.open(found.id) as file:
        assert file.read() == body


def test_equal_bytes_may_be_stored_under_several_names(open_runtime: OpenRuntime, tmp_path: Path) -> None:
    runtime = open_runtime(artifact_store=FileArtifactStore(tmp_path / "artifacts"))

    def hand_over(step: StepContext) -> None:
        for name in ("errors.csv", "warnings.csv", "errors.csv"):
            step.store_artifact(name, b"line\n", "text/csv")

    run_id = handed_over(runtime, hand_over)
    result = runtime.result(run_id, "a")
    assert result is not None
    assert [found.name for found in result.artifacts] == ["errors.csv", "warnings.csv"]
    (same,) = {found.id for found in result.artifacts}
    assert runtime.artifact(run_id, same).name == "errors.csv"


def test_nothing_that_a_failed_attempt_handed_over_is_seen(open_runtime: OpenRuntime, tmp_path: Path) -> None:
    runtime = open_runtime(artifact_store=FileArtifactStore(tmp_path / "artifacts"))

    def hand_over(step: StepContext) -> None:
        step.record("pages", "one", 1)
        step.artifact("inline", b"1")
        step.store_artifact("stored", b"2")
        raise Permanent("after_all")

    run_id = handed_over(runtime, hand_over)
    result = runtime.result(run_id, "a")
    assert result is not None
    assert (result.records, result.artifacts) == ((), ())
    assert len(runtime.records(collection="pages")) == 0


def test_a_projection_is_a_database_of_its_own(open_runtime: OpenRuntime, tmp_path: Path) -> None:
    runtime = open_runtime(projection_store=SQLiteProjectionStore(tmp_path / "projections"))

    def hand_over(step: StepContext) -> None:
        pages = step.projection("pages")
        pages.execute("CREATE TABLE IF NOT EXISTS page (number INTEGER PRIMARY KEY, text TEXT)")
        with pages.transaction():
            for number in range(3):
                pages.execute("INSERT OR REPLACE INTO page VALUES (?, ?)", (number, step.step_id))

    handed_over(runtime, hand_over)
    assert runtime.projection("pages").query("SELECT number, text FROM page WHERE number > ?", (0,)) == [
        {"number": 1, "text": "a"},
        {"number": 2, "text": "a"},
    ]
    runtime.close()


def test_progress_is_seen_while_a_step_runs_and_the_last_of_it_afterwards(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, meeting: Meeting
) -> None:
    @executor("long")
    def long(step: StepContext) -> None:
        step.progress(1, 3, "first")
        meeting.wait()
        step.progress(2, 3)
        step.progress(3, 3, "surrogate \udc80")

    with flowkit_runtime.workers():
        # What keeps attempts alive has had nothing to keep for a while.
        start(flowkit_runtime, lambda run: run.step("a", echo, 1), echo, long).wait(timeout=30)
        flowkit_clock.advance(1)
        run = start(flowkit_runtime, lambda run: run.step("a", long))
        meeting.expect()
        flowkit_clock.advance(1)
        eventually(lambda: flowkit_runtime.step(run.id, "a").progress is not None)
        progress = flowkit_runtime.step(run.id, "a").progress
        assert progress is not None
        assert (progress.done, progress.total, progress.message) == (1, 3, "first")
        meeting.let_go()
        run.wait(timeout=30)
    last = flowkit_runtime.step(run.id, "a").progress
    assert last is not None
    assert (last.done, last.message) == (3, "surrogate \\udc80")


@pytest.mark.parametrize("error", [Permanent("broken"), Retryable("busy", retry_after=60)])
def test_how_far_an_attempt_came_that_failed_is_seen_afterwards(flowkit_runtime: Runtime, error: Exception) -> None:
    @executor("reads")
    def reads(step: StepContext) -> None:
        step.progress(1, 10)
        step.progress(7, 10, "row 7")
        raise error

    run = start(flowkit_runtime, lambda run: run.step("a", reads), reads)
    flowkit_runtime.run_once()
    progress = flowkit_runtime.step(run.id, "a").progress
    assert progress is not None
    assert (progress.done, progress.total, progress.message) == (7, 10, "row 7")


def test_the_result_of_a_step_is_its_data_and_its_json(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", echo, {"b": [1, 2.5, None]}), echo)
    flowkit_runtime.drain()
    result = flowkit_runtime.result(run.id, "a")
    assert result is not None
    assert result.data == json.loads(result.json or "") == {"b": [1, 2.5, None]}
