"""``flowkit worker`` stops when it is told to, and what it had goes to the next one at once."""

from __future__ import annotations

import json

import pytest

from flowkit import Runtime
from flowkit.clock import SECOND
from tests.cli.conftest import ROOT, SLOW, STORE, Shell, eventually

STEPS = 50
LEASE = 30


def on(looking: Runtime, worker: str) -> int:
    return sum(step.worker_id == worker for step in looking.steps("one", status="running"))


def worker_ids(looking: Runtime) -> set[str]:
    return {worker.id.partition("/")[0] for worker in looking.stats().workers}


def test_sigterm_during_long_steps_hands_them_to_the_next_worker(slow: Shell, looking: Runtime) -> None:
    """From the store itself: every step was released, none was lost, and none waited for its lease to run out."""
    slow("run", "slow", "--input", str(STEPS), "--run-id", "one")
    with slow.background("worker", "--concurrency", str(STEPS), "--grace", "1s") as first:
        eventually(lambda: len(worker_ids(looking)) == 1)
        (before,) = worker_ids(looking)
        eventually(lambda: on(looking, before) == STEPS)
        with slow.background("worker", "--concurrency", str(STEPS)) as second:
            eventually(lambda: len(worker_ids(looking)) == 2)
            (after,) = worker_ids(looking) - {before}
            first.terminate()
            assert first.wait(60) == 0
            eventually(lambda: on(looking, after) == STEPS)
            slow.write("go", "")
            eventually(lambda: looking.workflow("one").status == "succeeded")  # type: ignore[union-attr]
            second.terminate()
            assert second.wait(60) == 0
    for step in looking.steps("one"):
        released, done = looking.attempts("one", step.id)
        assert [released.outcome, done.outcome] == ["released", "succeeded"]
        assert [released.worker_id, done.worker_id] == [before, after]
        assert [released.attempt, done.attempt] == [1, 1]
        assert released.ended_at is not None
        assert done.started_at - released.ended_at < LEASE * SECOND


def test_a_grace_that_no_worker_can_give_is_refused_before_it_works_rather_than_when_it_is_stopped(slow: Shell) -> None:
    ended = slow("worker", "--grace", "2d")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: invalid value for '--grace': expected at most 1d, got '2d'")


def test_a_second_signal_does_not_wait_for_the_grace(slow: Shell, looking: Runtime) -> None:
    slow("run", "slow", "--run-id", "one")
    with slow.background("worker", "--grace", "1h") as worker:
        eventually(lambda: bool(looking.steps("one", status="running").items))
        worker.terminate()
        assert worker.stderr is not None
        while "once more stops it at once" not in worker.stderr.readline():
            pass
        worker.terminate()
        assert worker.wait(60) == 0
    assert [attempt.outcome for attempt in looking.attempts("one", "hold[0]")] == ["released"]


def test_a_worker_starts_again_when_a_file_of_the_project_changes(slow: Shell, looking: Runtime) -> None:
    slow.write("go", "")
    with slow.background("worker", "--reload", "--grace", "5s", WATCHFILES_FORCE_POLLING="true") as process:
        eventually(lambda: len(worker_ids(looking)) == 1)
        (before,) = worker_ids(looking)
        slow.write("slow.py", SLOW.replace("return number", "return number + 100"))
        eventually(lambda: len(worker_ids(looking) - {before}) == 1)
        slow("run", "slow", "--run-id", "one")
        eventually(lambda: looking.workflow("one").status == "succeeded")  # type: ignore[union-attr]
        assert json.loads(slow("result", "one", "hold[0]").out) == 100
        process.terminate()
        _, told = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "slow.py changed: starting again\n" in told
    assert worker_ids(looking) == set()


def test_a_worker_that_is_to_start_again_needs_what_looks_for_changes(slow: Shell) -> None:
    slow.write("hidden/sitecustomize.py", "import sys\nsys.modules['watchfiles'] = None\n")
    ended = slow("worker", "--reload", PYTHONPATH=f"{slow.directory / 'hidden'}:{ROOT}")
    assert (ended.code, ended.out) == (2, "")
    assert "flowkit worker --reload needs the extra flowkit-durable[cli]" in ended.err


def test_a_worker_may_be_for_some_queues_alone(slow: Shell, looking: Runtime) -> None:
    slow.write("go", "")
    slow("run", "slow", "--run-id", "one")
    with slow.background("worker", "--queues", "mail,slwo") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "no step has come by way of queue 'mail' yet\n"
        assert process.stderr.readline() == "no step has come by way of queue 'slwo' yet; did you mean 'slow'?\n"
        assert f"serves 1 kind of steps from mail, slwo in {STORE};" in process.stderr.readline()
        eventually(lambda: len(worker_ids(looking)) == 1)
        assert "no live worker serves kind 'slow/hold' from queue 'slow'" in slow("doctor").out
        with slow.background("worker", "--queues", "slow"):
            eventually(lambda: looking.workflow("one").status == "succeeded")  # type: ignore[union-attr]


@pytest.mark.parametrize("queues", ["", " , "])
def test_a_worker_for_no_queue_is_refused_rather_than_one_for_all(slow: Shell, queues: str) -> None:
    ended = slow("worker", "--queues", queues)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: --queues: expected names of queues, got none; leave it out to serve all")


def test_a_worker_without_slots_is_refused_by_the_name_of_the_option(slow: Shell) -> None:
    ended = slow("worker", "--concurrency", "0")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "error: --concurrency: expected 1 or more, got 0\n"


SAYING = '''
from flowkit import Permanent, RunBuilder, StepContext, executor, package


@executor("say")
def say(step: StepContext) -> None:
    step.log.info("in passing")
    step.log.warning("look at this")
    raise Permanent("broken", "it broke")


@package("saying")
def saying(run: RunBuilder) -> None:
    run.step("only", say)
'''
WITH_STRUCTLOG = """
import structlog

structlog.configure(
    processors=[structlog.stdlib.filter_by_level, structlog.processors.JSONRenderer()],
    logger_factory=structlog.stdlib.LoggerFactory(),
)
"""
CONFIGURED = "import logging\nlogging.basicConfig(format='mine %(message)s')\n"


def said_by(slow: Shell, module: str, *options: str) -> list[str]:
    """Return the lines that a worker of this module writes to stderr while a run fails."""
    slow.write("saying.py", module)
    slow("run", "saying", "-m", "saying", "--run-id", "one")
    with slow.background("worker", "-m", "saying", *options) as process:
        slow("result", "one", "--wait")
        process.terminate()
        _, told = process.communicate(timeout=60)
    return str(told).splitlines()


@pytest.mark.parametrize(
    ("module", "options", "lines"),
    [
        (SAYING, [], ["WARNING event='look at this'", "ERROR event='step_failed'"]),
        (SAYING, ["--log-level", "info"], ["INFO event='in passing'", "WARNING event", "ERROR event='step_failed'"]),
        (SAYING, ["--log-level", "error"], ["ERROR event='step_failed'"]),
        (CONFIGURED + SAYING, [], ["mine event='look at this'", "mine event='step_failed'"]),
        (
            CONFIGURED + SAYING,
            ["--log-level", "info"],
            ["mine event='in passing'", "mine event='look at this'", "mine event='step_failed'"],
        ),
    ],
    ids=["by default", "more", "less", "as the module says", "more, as the module says"],
)
def test_what_goes_wrong_is_said_on_stderr(slow: Shell, module: str, options: list[str], lines: list[str]) -> None:
    said = [line for line in said_by(slow, module, *options) if "event=" in line]
    at = 0
    for part in lines:
        at = next(number for number, line in enumerate(said[at:], start=at) if part in line) + 1
    assert sum(part in line for line in said for part in ("in passing", "look at this", "step_failed")) == len(lines)


def test_a_module_that_configured_structlog_says_how_lines_look(slow: Shell) -> None:
    said = [json.loads(line) for line in said_by(slow, WITH_STRUCTLOG + SAYING) if line.startswith("{")]
    assert [line["event"] for line in said] == ["look at this", "step_failed"]
