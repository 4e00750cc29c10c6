"""``flowkit run`` starts a run and may execute it; ``flowkit worker`` executes what was started, until told to stop."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request

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


def test_a_worker_serves_its_metrics_where_it_says(shell: Shell) -> None:
    shell("run", "order", "--input", TEA, "--run-id", "order-1")
    with shell.background("worker", "--metrics-port", "0") as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        url = told.split()[-1]
        while 'flowkit_runs_finished_total{package="order",status="succeeded"} 1.0' not in fetched(url):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def test_a_port_for_metrics_that_is_taken_is_refused(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = shell("worker", "--metrics-port", str(taken.getsockname()[1]))
    assert (ended.code, ended.out) == (2, "")
    assert "error: metrics cannot be served: Address already in use" in ended.err


TRACED = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(
    SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda span: span.name + chr(10)))
)
"""


def test_a_project_that_sets_up_tracing_is_traced(shell: Shell) -> None:
    shell.write("telemetry.py", TRACED)
    ended = shell("run", "order", "--input", TEA, "--run-id", "order-1", "--wait", "-m", "demo", "-m", "telemetry")
    assert ended.code == 0, ended.err
    assert {"start order", "shop/charge", "shop/ship", "run order"} <= set(ended.out.splitlines())
