"""``flowkit run`` starts a run and may execute it; ``flowkit worker`` executes what was started, until told to stop."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.cli.conftest import Shell

TEA = json.dumps({"id": "A-17", "items": ["tea"]})
BROKE = json.dumps({"id": "broke"})


def test_a_run_without_wait_is_only_stored_and_says_so(shell: Shell) -> None:
    ended = shell("run", "order", "--input", TEA, "--run-id", "order-1")
    assert (ended.code, ended.out) == (0, "run order-1 is stored\n")
    assert "it waits for a worker, with 3 steps to do: start one with flowkit worker, or say --wait" in ended.err
    assert json.loads(shell("runs", "--json").out)["runs"][0]["status"] == "pending"


def test_a_run_with_wait_is_executed_here(shell: Shell) -> None:
    ended = shell("run", "order", "--input", "-", "--run-id", "order-1", "--wait", input=TEA)
    assert (ended.code, ended.out) == (0, "run order-1 succeeded\n")
    assert json.loads(shell("result", "order-1").out)["parcels"] == ["packed tea"]


def test_a_run_that_fails_exits_with_1(shell: Shell) -> None:
    ended = shell("run", "order", "--input", BROKE, "--run-id", "order-1", "--wait")
    assert (ended.code, ended.out) == (1, "run order-1 failed\n")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["order", "--input", '{"id": 5}'], 2, "expected str, got int"),
        (["order", "--input", "{"], 2, "the input is no JSON"),
        (["oder", "--input", TEA], 3, "did you mean 'order'"),
    ],
)
def test_a_run_that_cannot_be_started_says_why(shell: Shell, arguments: list[str], code: int, told: str) -> None:
    ended = shell("run", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_worker_executes_what_was_started_and_stops_when_told(shell: Shell, number: int, code: int) -> None:
    shell("run", "order", "--input", TEA, "--run-id", "order-1")
    with shell.background("worker", "--grace", "5") as process:
        assert process.stderr is not None
        assert "serves 4 kinds of steps" in process.stderr.readline()
        while json.loads(shell("runs", "--json").out)["runs"][0]["status"] != "succeeded":
            assert process.poll() is None
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    stopping = "stopping: what runs has 5 seconds to end; once more stops it at once\n"
    assert (process.returncode, told) == (code, f"{stopping}the worker has stopped\n")


def test_a_worker_without_executors_is_refused(empty: Shell) -> None:
    ended = empty("worker", "--store", "sqlite:///x.db")
    assert (ended.code, ended.out) == (2, "")
    assert "error: there are no executors to serve" in ended.err


def test_a_new_project_runs_at_once(empty: Shell) -> None:
    empty("init", "demo")
    done = subprocess.run(
        empty.command("run", "hello", "--wait", "--run-id", "first"),
        cwd=empty.directory / "demo",
        env=empty.variables(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "run first succeeded\n")
