"""Every public constructor and call, given what nobody should give it: it works, or refuses with a fitting error."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

import flowkit
from flowkit import (
    FileArtifactStore,
    FlowkitError,
    Permanent,
    PostgresStore,
    QueueConfig,
    RateLimit,
    Retry,
    Retryable,
    RunBuilder,
    Runtime,
    SQLiteProjectionStore,
    SQLiteStore,
    StepContext,
    chain,
    executor,
    optional,
    package,
    require,
    sensitive,
)
from flowkit.artifacts import open_artifact_store
from flowkit.model.outcome import step_error
from tests.hostile.values import ANYTHING, ten_thousand

pytestmark = pytest.mark.timeout(600)  # ten thousand cases take seconds, on a loaded machine a minute
EXPECTED = (FlowkitError, TypeError, ValueError)

CONSTRUCTORS: dict[Callable[..., Any], int] = {
    Retry: 0,
    QueueConfig: 0,
    RateLimit: 1,
    Permanent: 1,
    Retryable: 1,
    executor: 1,
    package: 1,
    SQLiteStore: 1,
    PostgresStore: 1,
    FileArtifactStore: 1,
    SQLiteProjectionStore: 1,
    chain: 2,
    require: 2,
    optional: 1,
    sensitive: 0,
}
"""What users call to make something, and how many arguments they give by place."""


def told(error: BaseException) -> str:
    """Return the text of an error; making it must not fail."""
    return f"{type(error).__name__}: {error}"


def keywords(call: Callable[..., Any]) -> list[str]:
    """Return the names that a call takes."""
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, one in inspect.signature(call).parameters.items() if one.kind in kinds]


def calls_of(call: Callable[..., Any], by_place: int) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw a call: some arguments by place, some by name."""
    named = keywords(call)[by_place:]
    options = st.dictionaries(st.sampled_from(named), ANYTHING, max_size=3) if named else st.just({})
    return st.tuples(st.just(call), st.lists(ANYTHING, max_size=by_place), options)


@ten_thousand(calls=st.one_of([calls_of(call, by_place) for call, by_place in CONSTRUCTORS.items()]))
def test_a_constructor_makes_something_or_says_what_is_wrong(
    calls: list[tuple[Any, list[Any], dict[str, Any]]],
) -> None:
    for call, arguments, options in calls:
        try:
            made = call(*arguments, **options)
        except EXPECTED as error:
            told(error)
            continue
        if isinstance(made, (Permanent, Retryable)):
            assert step_error(made, 0).code
        if isinstance(made, (Retry, QueueConfig, RateLimit)):
            assert made == made
            assert repr(made)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A Runtime with one run that has ended and one that waits."""
    place = tmp_path_factory.mktemp("hostile")
    store = SQLiteStore(place / "store.db", durability="process")
    projections = SQLiteProjectionStore(place / "projections")
    with Runtime(store, entry_points=False, projection_store=projections) as opened:

        @executor("keep")
        def keep(step: StepContext, input: Any) -> Any:
            step.record("kept", "it", input)
            return input

        @package("kept")
        def kept(run: RunBuilder, input: Any) -> None:
            run.step("keep", keep, input)

        opened.register_executor(keep)
        opened.register_package(kept)
        opened.run("kept", 1, run_id="done")
        opened.start_run("kept", 2, run_id="waits")
        yield opened


READS = [
    "workflow",
    "handle",
    "runs",
    "run_ids",
    "steps",
    "step",
    "attempts",
    "history",
    "result",
    "records",
    "artifact",
    "artifacts",
    "projection",
    "explain",
    "cancel_run",
    "retry_step",
    "retry_run",
    "pause_queue",
    "resume_queue",
    "prune",
    "shutdown",
    "discover",
    "register_executor",
    "register_package",
    "start_run",
]
IDS = st.one_of(ANYTHING, ANYTHING, st.sampled_from(["done", "waits", "keep", "kept", "default"]))


@ten_thousand(
    calls=st.tuples(
        st.sampled_from(READS), st.lists(IDS, max_size=2), st.lists(ANYTHING, max_size=2), st.integers(0, 99)
    )
)
def _call_everything(calls: list[Any], *, runtime: Runtime) -> None:
    for name, arguments, values, first in calls:
        call = getattr(runtime, name)
        try:
            named = [one for one in keywords(call) if one not in ("input", "package")]
        except ValueError:
            named = []
        options = {named[(first + at) % len(named)]: value for at, value in enumerate(values)} if named else {}
        try:
            call(*arguments, **options)
        except EXPECTED as error:
            told(error)


def test_a_call_of_a_runtime_works_or_says_what_is_wrong(runtime: Runtime) -> None:
    _call_everything(runtime=runtime)
    assert runtime.workflow("done") is not None or runtime.stats()


OPTIONS = [name for name in keywords(Runtime) if name != "store"]


@ten_thousand(cases=st.tuples(st.dictionaries(st.sampled_from(OPTIONS), ANYTHING, min_size=1, max_size=2), ANYTHING))
def _make_runtimes(cases: list[Any], *, path: Path) -> None:
    for number, (options, store) in enumerate(cases):
        # Opening costs milliseconds: one in ten has a store that there is.
        given = f"sqlite:///{path}" if number % 10 == 0 else store
        with suppress(*EXPECTED), Runtime(given, **{"entry_points": False, **options}):
            pass


def test_a_runtime_is_made_or_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _make_runtimes(path=tmp_path / "store.db")


def test_every_public_name_that_can_be_made_is_tried_here() -> None:
    """What is not in the list is made by flowkit and not by users, or is an error, or is tried in another way."""
    tried = {call.__name__ for call in CONSTRUCTORS} | {"Runtime"}
    errors = {
        name
        for name in flowkit.__all__
        if isinstance(getattr(flowkit, name), type) and issubclass(getattr(flowkit, name), Exception)
    }
    made_by_flowkit = {
        "Artifact",
        "ArtifactRef",
        "AsyncRunHandle",
        "AsyncRuntime",
        "Attempt",
        "Clock",
        "CycleResult",
        "Event",
        "Explanation",
        "HistoryEvent",
        "Page",
        "Progress",
        "Projection",
        "Record",
        "Run",
        "RunBuilder",
        "RunHandle",
        "RunStatus",
        "Sensitive",
        "Step",
        "StepContext",
        "StepCounts",
        "StepError",
        "StepGroup",
        "StepHandle",
        "StepResult",
        "StepStatus",
        "SystemClock",
    }
    assert set(flowkit.__all__) - errors - made_by_flowkit == tried - {"Permanent", "Retryable"}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda rt: rt.workflow(["done"]), "run_id: expected a str, got list"),
        (lambda rt: rt.step("done", 10**30), "step_id: expected a str, got int"),
        (lambda rt: rt.records("done", collection={}), "collection: expected a str, got dict"),
        (lambda rt: rt.cancel_run("a\0b"), "run_id: expected text without U"),
        (lambda rt: rt.retry_step("done", "\ud800"), "step_id: expected text without U"),
        (lambda rt: rt.runs(status=True), "status: expected one status or several, got True"),
        (lambda rt: rt.runs(since=2**63), "since: expected an aware datetime or integer microseconds"),
        (lambda rt: rt.prune(older_than=1, statuses=None), "statuses: expected one status or several, got None"),
        (lambda rt: rt.start_run("\udc80"), "workflow package '.udc80' is not registered"),
        (lambda rt: Retry(maximum=10**400), "maximum: expected seconds"),
        (lambda rt: RateLimit(10**400), "rate_per_second: expected a number"),
        (lambda rt: Runtime("sqlite://", poll_interval=10**400), "poll_interval: expected seconds"),
        (lambda rt: FileArtifactStore(None), "root: expected a path, got None"),
        (lambda rt: SQLiteStore(3.5), "path: expected a path, got 3.5"),
        (lambda rt: SQLiteStore("a\0b"), "SQLiteStore: path: expected a path without U.0000 and lone surr"),
        (lambda rt: SQLiteStore("\ud800"), "SQLiteStore: path: expected a path without U.0000 and lone surr"),
        (lambda rt: Runtime("sqlite:///a%00b"), "SQLiteStore: path: expected a path without U.0000"),
        (lambda rt: FileArtifactStore("a\0b"), "root: expected a path without U.0000"),
        (lambda rt: open_artifact_store("file:///a%00b"), "root: expected a path without U.0000"),
        (lambda rt: SQLiteProjectionStore("a\0b"), "root: expected a path without U.0000"),
        (lambda rt: SQLiteProjectionStore("x", busy_timeout="1"), "busy_timeout: expected 0 to 3600 seconds"),
    ],
)
def test_what_was_once_told_by_the_driver_or_not_at_all_is_told_by_name(
    runtime: Runtime, call: Callable[[Any], Any], told: str
) -> None:
    with pytest.raises(FlowkitError, match=told):
        call(runtime)


def test_details_that_are_no_object_are_refused_where_they_are_given() -> None:
    with pytest.raises(ValueError, match="Permanent: details: expected a dict, got 17"):
        Permanent("code", details=17)  # type: ignore[arg-type]
