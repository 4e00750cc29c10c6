"""With the extras that observe, an installed flowkit traces and measures, and its worker serves what it measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wheel.environment import Environment, Workshop

OBSERVED = '''
from flowkit import Runtime, RunBuilder, executor, package
from flowkit.otel import OpenTelemetry
from flowkit.prometheus import Prometheus
from prometheus_client import REGISTRY

@executor("hello/echo")
def echo(input: str) -> str:
    return input.upper()

@package("hello")
def hello(run: RunBuilder, input: str) -> None:
    run.step("echo", echo, input)

with Runtime("sqlite:///var/hello.db", modules=[__name__], observers=[OpenTelemetry(), Prometheus()]) as rt:
    print(rt.run("hello", "hi").result())
print(REGISTRY.get_sample_value("flowkit_runs_finished_total", {"package": "hello", "status": "succeeded"}))
'''


@pytest.fixture
def observing(workshop: Workshop) -> Environment:
    """An environment with the wheel and the extras for traces and metrics, and no SDK for traces."""
    return workshop.environment("observing", extras="otel,prometheus")


def test_a_program_is_observed_with_the_extras_alone(observing: Environment, tmp_path: Path) -> None:
    program = tmp_path / "hello.py"
    program.write_text(OBSERVED, encoding="utf-8")
    ended = observing.python("-W", "error", str(program), cwd=tmp_path)
    assert (ended.code, ended.out, ended.err) == (0, "HI\n1.0\n", "")


def test_a_command_runs_with_them_as_without(observing: Environment, tmp_path: Path) -> None:
    observing.flowkit("init", "demo", cwd=tmp_path)
    ended = observing.flowkit("run", "hello", "--run-id", "first", "--wait", cwd=tmp_path / "demo")
    assert ended.code == 0, ended.err
    assert ended.out.endswith("run first succeeded\n")
