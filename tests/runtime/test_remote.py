"""Attempts outside this process: the same members and outcomes; what must stop is killed, what dies is retried."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import cattrs
import loky
import pytest

from flowkit import FileArtifactStore, Retry, RunHandle, Runtime, SQLiteProjectionStore, SQLiteStore, executor
from flowkit.clock import SECOND
from flowkit.dsl.decorators import definitions_of
from flowkit.errors import ConfigError
from flowkit.model.definitions import ExecutorDef
from flowkit.model.lease import Lease
from flowkit.model.names import joined
from flowkit.model.outcome import Failed, Outcome
from flowkit.model.outputs import Progress
from flowkit.model.step import LeasedStep, Settlement
from flowkit.runtime.attempts import Attempt, StopReason
from tests.runtime import remote_tasks
from tests.runtime.remote_tasks import Page, Pages

LONG = 60
START = 1_700_000_000 * SECOND

OpenRuntime = Callable[[Executor], Runtime]

pytestmark = pytest.mark.timeout(120)


class NoExecutor(Executor):
    """Takes tasks and says that it cannot."""

    def submit(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no node is free")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """One Runtime for all tests that need processes: they are used again, and take time to start."""
    root = tmp_path_factory.mktemp("remote")
    with Runtime(
        SQLiteStore(root / "flowkit.db"),
        modules=[remote_tasks],
        entry_points=False,
        artifact_store=FileArtifactStore(root / "artifacts"),
        projection_store=SQLiteProjectionStore(root / "projections"),
        max_workers=2,
        poll_interval=0.05,
        pools={"elsewhere": NoExecutor()},
    ) as opened:
        yield opened


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def run_one(runtime: Runtime, *kind_and_input: Any) -> RunHandle[Any]:
    return runtime.run("one", list(kind_and_input))


def test_results_go_to_a_process_and_come_back_as_they_were(runtime: Runtime) -> None:
    output = runtime.run("book", Pages((Page(1), Page(2)))).result()
    assert [text.partition(" by ")[0] for text in output["texts"]] == ["page 1", "page 2"]
    assert output["pid"] != os.getpid()
    assert str(os.getpid()) not in "".join(output["texts"])
    assert output["first"] is None


def test_the_context_knows_in_a_process_what_it_knows_in_a_thread(runtime: Runtime) -> None:
    before = runtime._parts.clock.now()
    handle = runtime.run("look around")
    seen = handle.result()
    assert seen["run"] == [handle.id, "running", {"shelf": 3}]
    assert seen["step"] == ["look", "process/look", "running"]
    assert (seen["page"], seen["whole"], seen["missing"]) == (7, "succeeded", "nowhere")
    assert seen["input"] == ['{"a":[1,2.5,null]}', {"a": [1, 2.5, None]}, {"a": [1, 2.5, None]}]
    assert seen["keys"] == [joined(handle.id, "look", 0), joined(handle.id, "look", 0, 1), 1, 1]
    assert not seen["canceled"]
    assert before <= seen["now"] <= runtime._parts.clock.now()


def test_a_thread_that_an_executor_left_behind_in_a_process_learns_that_the_attempt_has_ended(
    runtime: Runtime, pipe: Path
) -> None:
    handle = run_one(runtime, "process/leave_behind", str(pipe))
    told = pipe.read_text()
    assert told.startswith(f"attempt 1 of step 'step' of run {handle.id!r} has ended: ")


def test_what_an_attempt_hands_over_in_a_process_is_stored_with_its_result(runtime: Runtime) -> None:
    handle = run_one(runtime, "process/hand_over")
    result = runtime.result(handle.id, "step")
    assert result is not None
    assert result.data == 80_000
    records = [(record.collection, record.key, record.data) for record in result.records]
    assert records == [("pages", "7", {"text": "seven"})]
    note, scan = sorted(result.artifacts, key=lambda artifact: artifact.name)
    assert runtime.artifact(handle.id, note.id).body == b"a note"
    assert (note.content_type, note.metadata) == ("text/plain", {"n": 1})
    artifacts = runtime._parts.artifacts
    assert artifacts is not None
    with artifacts.open(scan.id) as file:
        assert file.read() == b"\x00\xff" * 40_000
    assert runtime.projection("numbers").query("SELECT n FROM seen") == [{"n": 7}]


def test_steps_are_emitted_from_a_process_by_function_and_by_kind(runtime: Runtime) -> None:
    handle = runtime.run("spread out", Pages((Page(4), Page(5))))
    output = handle.result()
    assert [text.partition(" by ")[0] for text in output["texts"]] == ["page 4", "page 5"]
    assert output["first"] == 0
    result = runtime.result(handle.id, "spread")
    assert result is not None
    assert result.emitted_ids == ("page[0]", "page[1]", "first", "join")


def test_a_kind_that_nobody_knows_is_refused_in_the_process_already(runtime: Runtime) -> None:
    error = runtime.step(run_one(runtime, "process/spread_wrong").id, "step").error
    assert error is not None
    assert error.code == "graph_error"
    assert "did you mean 'process/read'?" in error.message


def test_progress_is_seen_while_the_process_runs_and_the_last_is_stored(runtime: Runtime) -> None:
    handle = run_one(runtime, "process/report")
    assert handle.result() == "half"
    assert runtime.step(handle.id, "step").progress == Progress(2, 2, "done")


@pytest.mark.parametrize(
    ("input", "code", "message"),
    [
        ("permanent", "no_page", "there is no page"),
        ("unstorable", "invalid_result", "result $: NaN is not JSON"),
        ("other", "executor_error", "ValueError: broken"),
    ],
)
def test_errors_of_a_process_are_classified_as_anywhere(runtime: Runtime, input: str, code: str, message: str) -> None:
    error = runtime.step(run_one(runtime, "process/fail", input).id, "step").error
    assert error is not None
    assert (error.code, error.message, error.retryable) == (code, message, False)
    assert "remote_tasks" in (error.traceback or "") or code == "invalid_result"


def test_a_process_that_dies_loses_the_attempt_and_the_step_is_tried_again(runtime: Runtime) -> None:
    handle = run_one(runtime, "process/die", "once")
    assert handle.result() == "attempt 2"
    lost, kept = runtime.attempts(handle.id, "step")
    assert lost.error is not None
    assert (lost.outcome, lost.error.code, kept.outcome) == ("retried", "worker_lost", "succeeded")
    assert lost.error.message == "the process that ran the attempt ended with exit code 3"


@pytest.mark.parametrize(("input", "how"), [("exit", "exit code 3"), ("kill", "SIGKILL")])
def test_a_step_that_kills_its_process_each_time_fails_when_its_budget_is_spent(
    runtime: Runtime, input: str, how: str
) -> None:
    handle = run_one(runtime, "process/die", input)
    step = runtime.step(handle.id, "step")
    assert step.error is not None
    assert (step.status, step.attempt, step.error.code) == ("failed", 2, "worker_lost")
    assert how in step.error.message


def begun(pipe: Path) -> Callable[[], int]:
    """Wait until a process holds the pipe; return what waits until that process has ended, and gives its id."""
    file = pipe.open("rb", buffering=0)
    pid = int(file.read(20))

    def ended() -> int:
        with file:
            file.read()
        return pid

    return ended


def test_a_timeout_kills_the_process(runtime: Runtime, pipe: Path) -> None:
    with runtime.workers():
        handle = runtime.start_run("one", ["process/hang_for_a_while", str(pipe)])
        ended = begun(pipe)
        assert handle.wait(LONG).status == "failed"
        assert ended() != os.getpid()
    error = runtime.step(handle.id, "step").error
    assert error is not None
    assert (error.code, error.message) == ("timeout", "the attempt ran longer than its timeout of 0.2 s")


def test_canceling_the_run_kills_the_process(runtime: Runtime, pipe: Path) -> None:
    with runtime.workers():
        handle = runtime.start_run("one", ["process/hang", str(pipe)])
        ended = begun(pipe)
        runtime.cancel_run(handle.id)
        assert ended() != os.getpid()
        assert handle.wait(LONG).status == "canceled"
    assert [attempt.outcome for attempt in runtime.attempts(handle.id, "step")] == ["discarded"]


def test_workers_that_stop_kill_the_process_and_give_the_step_back_uncounted(runtime: Runtime, pipe: Path) -> None:
    with runtime.workers():
        handle = runtime.start_run("one", ["process/hang", str(pipe)])
        ended = begun(pipe)
        runtime.shutdown(grace=0)
    assert ended() != os.getpid()
    step = runtime.step(handle.id, "step")
    assert (step.status, step.attempt) == ("ready", 0)
    assert [attempt.outcome for attempt in runtime.attempts(handle.id, "step")] == ["released"]
    runtime.cancel_run(handle.id)


class Ended:
    """Takes the settlements of attempts, in place of a crew."""

    def __init__(self) -> None:
        self.settlements: queue.Queue[Settlement] = queue.Queue()

    def begin(self, attempt: Attempt) -> None: ...

    def finish(self, attempt: Attempt, settled: Settlement) -> None:
        self.settlements.put(settled)


def attempt_at(runtime: Runtime, kind: str, input: Any) -> Attempt:
    found = runtime._parts.registry.executable(kind)
    assert found is not None
    lease = Lease("worker", "token", 1, START, START + 30 * SECOND)
    known: dict[str, Any] = {"key": 1, "run_key": 1, "run_id": "run", "id": "step", "kind": kind, "queue": "default"}
    known |= {"attempt": 1, "generation": 0, "retry": Retry(max_attempts=1), "timeout": SECOND, "lease": lease}
    return Attempt(LeasedStep(input=json.dumps(input).encode(), **known), found, lambda attempt, settled: None)


@pytest.mark.parametrize("reason", ["released", "timeout"])
def test_the_end_of_a_killed_attempt_says_what_it_was_killed_for(
    runtime: Runtime, pipe: Path, reason: StopReason
) -> None:
    ended, attempt = Ended(), attempt_at(runtime, "process/hang", str(pipe))
    runtime._parts.remote("process", ended).start([attempt])
    wait = begun(pipe)
    attempt.stop(reason)
    wait()
    outcome = ended.settlements.get(timeout=LONG).outcome
    assert code_of(outcome) == ("timeout" if reason == "timeout" else "released")


@pytest.mark.parametrize("reason", ["canceled", "lost", "released", "timeout"])
def test_the_end_of_an_attempt_that_a_pool_gave_back_says_why(
    in_elsewhere: OpenRuntime, reason: StopReason
) -> None:
    blocker = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        runtime = in_elsewhere(threads)
        threads.submit(blocker.wait)
        ended, attempt = Ended(), attempt_at(runtime, "elsewhere/wait", 0.0)
        try:
            runtime._parts.remote("elsewhere", ended).start([attempt])
            attempt.stop(reason)
            outcome = ended.settlements.get(timeout=LONG).outcome
        finally:
            blocker.set()
    assert code_of(outcome) == ("timeout" if reason == "timeout" else "released")


def code_of(outcome: Outcome) -> str:
    return outcome.error.code if isinstance(outcome, Failed) else type(outcome).__name__.lower()


def test_processes_run_side_by_side(runtime: Runtime, tmp_path: Path) -> None:
    pipes = [tmp_path / "first", tmp_path / "second"]
    for path in pipes:
        os.mkfifo(path)
    with runtime.workers():
        handle = runtime.start_run("several", [["process/hang", str(path)] for path in pipes])
        waits = [begun(path) for path in pipes]  # both have begun, and neither has ended
        runtime.cancel_run(handle.id)
        assert len({wait() for wait in waits}) == 2


@pytest.fixture(params=["threads", "processes", "loky"])
def elsewhere(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made: Executor
    if request.param == "threads":
        made = ThreadPoolExecutor(1)
    elif request.param == "processes":
        made = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    else:
        made = loky.ProcessPoolExecutor(1)
    yield made
    made.shutdown()


@pytest.fixture
def in_elsewhere(tmp_path: Path) -> Iterator[Callable[[Executor], Runtime]]:
    opened: list[Runtime] = []

    def open_one(pool: Executor) -> Runtime:
        store, pools = SQLiteStore(tmp_path / "flowkit.db"), {"elsewhere": pool}
        opened.append(Runtime(store, modules=[remote_tasks], entry_points=False, pools=pools, poll_interval=0.05))
        return opened[-1]

    yield open_one
    for runtime in opened:
        runtime.close()


def test_any_executor_is_a_pool(elsewhere: Executor, in_elsewhere: OpenRuntime) -> None:
    runtime = in_elsewhere(elsewhere)
    handle = runtime.run("book elsewhere", Pages((Page(1), Page(2))))
    assert handle.result() == 3
    assert runtime.step(handle.id, "more").status == "succeeded"
    assert runtime.step(handle.id, "page[0]").progress == Progress(1, 1, "read")
    assert sorted(record.key for record in runtime.records(handle.id, collection="pages")) == ["1", "2", "2"]


def test_a_pool_without_a_line_to_the_store_says_what_to_do_instead(in_elsewhere: OpenRuntime) -> None:
    with ThreadPoolExecutor(1) as threads:
        runtime = in_elsewhere(threads)
        error = runtime.step(run_one(runtime, "elsewhere/look").id, "step").error
    assert error is not None
    assert error.code == "executor_error"
    assert "step.workflow cannot be read here" in error.message
    assert "Bind results where the step is declared" in error.message


@pytest.mark.parametrize("kind", ["processes", "loky"])
def test_a_pool_whose_process_dies_loses_the_attempt(in_elsewhere: OpenRuntime, kind: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) if kind == "processes" else loky.ProcessPoolExecutor(1) as pool:
        runtime = in_elsewhere(pool)
        step = runtime.step(run_one(runtime, "elsewhere/die").id, "step")
    assert step.error is not None
    assert (step.status, step.attempt, step.error.code) == ("failed", 2, "worker_lost")
    assert step.error.message.startswith("pool 'elsewhere' lost the attempt: ")


def test_a_pool_that_takes_no_task_loses_the_attempt(runtime: Runtime) -> None:
    step = runtime.step(run_one(runtime, "elsewhere/die").id, "step")
    assert step.error is not None
    assert (step.attempt, step.error.code) == (2, "worker_lost")
    assert step.error.message == "pool 'elsewhere' lost the attempt: RuntimeError: no node is free"


def begin(gates: Path) -> None:
    """Wait until the step that is held at these gates runs."""
    while not (gates / "begun").exists():
        pause(0.01)


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def test_a_timeout_counts_from_the_call_not_from_the_queue_of_the_pool(
    in_elsewhere: OpenRuntime, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as threads:
        runtime = in_elsewhere(threads)
        with runtime.workers():
            waits = [["elsewhere/wait", 0.0], ["elsewhere/wait", 1.0]]  # their timeout is 0.3 s
            handle = runtime.start_run("several", [["elsewhere/hold", str(tmp_path)], *waits])
            begin(tmp_path)
            pause(0.5)
            (tmp_path / "go").touch()
            handle.wait(LONG)
    assert [step.status.value for step in runtime.steps(handle.id)] == ["succeeded", "succeeded", "failed"]
    error = runtime.step(handle.id, "s2").error
    assert error is not None
    assert error.code == "timeout"


def test_a_pool_opens_the_stores_that_the_runtime_has_and_no_others(in_elsewhere: OpenRuntime) -> None:
    marked = definitions_of(remote_tasks.hand_over)[0]
    with ThreadPoolExecutor(1) as threads:
        runtime = in_elsewhere(threads)
        runtime.register_executor(attrs.evolve(marked, kind="elsewhere/hand_over", pool="elsewhere"))  # type: ignore[misc]
        error = runtime.step(run_one(runtime, "elsewhere/hand_over").id, "step").error
    assert error is not None
    assert "this Runtime has no artifact store" in error.message


def test_what_a_pool_runs_cannot_be_stopped_and_what_waits_is_taken_back(
    in_elsewhere: OpenRuntime, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as threads:
        runtime = in_elsewhere(threads)
        with runtime.workers():
            handle = runtime.start_run("several", [["elsewhere/hold", str(tmp_path)]] * 2)
            begin(tmp_path)
            runtime.cancel_run(handle.id)
            while runtime.step(handle.id, "s1").status != "canceled":
                pause(0.01)
            assert runtime.step(handle.id, "s0").status == "running"
            assert runtime.workflow(handle.id).status == "canceling"  # type: ignore[union-attr]
            (tmp_path / "go").touch()
            assert handle.wait(LONG).status == "canceled"


def opened(tmp_path: Path, *functions: Any, **settings: Any) -> None:
    with Runtime(SQLiteStore(tmp_path / "flowkit.db"), entry_points=False, **settings) as runtime:
        for function in functions:
            runtime.register_executor(function)


def test_an_executor_of_a_pool_that_is_not_there_is_refused_naming_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'elsewhere/read' .*pool 'elsewhere' does not exist.*'process', 'gpu'"):
        opened(tmp_path, remote_tasks.read_elsewhere, pools={"gpu": NoExecutor()})


def test_an_executor_that_is_refused_is_not_served(tmp_path: Path) -> None:
    with Runtime(SQLiteStore(tmp_path / "flowkit.db"), entry_points=False) as runtime:
        with pytest.raises(ConfigError):
            runtime.register_executor(remote_tasks.read_elsewhere)
        assert dict(runtime.executors) == {}


def test_an_executor_that_no_process_could_import_is_refused(tmp_path: Path) -> None:
    @executor("local", pool="process")
    def local() -> None: ...

    with pytest.raises(ConfigError, match=r"'local' .*test_remote.py:\d+.*<locals>.*at the top level of a module"):
        opened(tmp_path, local)


def test_an_executor_whose_name_means_something_else_is_refused(tmp_path: Path) -> None:
    made = executor("shadowed", pool="process")(lambda: None)
    made.__qualname__ = "Page"
    with pytest.raises(ConfigError, match="finds the executor by name"):
        opened(tmp_path, made)


def test_a_definition_made_by_hand_runs_in_a_process_too(runtime: Runtime) -> None:
    marked = definitions_of(remote_tasks.die)[0]
    assert isinstance(marked, ExecutorDef)
    runtime.register_executor(attrs.evolve(marked, kind="process/by_hand"))
    assert run_one(runtime, "process/by_hand", "once").result() == "attempt 2"


def test_a_converter_of_the_programs_own_does_not_reach_other_processes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Runtime\(converter=\) does not reach"):
        opened(tmp_path, remote_tasks.read, converter=cattrs.Converter())
