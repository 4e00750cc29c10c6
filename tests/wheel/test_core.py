"""With the core dependencies alone flowkit works, and says what an extra is needed for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wheel.environment import ROOT, Environment

OPTIONAL = ["rich", "watchfiles", "orjson", "psycopg", "loky", "distributed", "pytest"]
OPTIONAL += ["opentelemetry", "prometheus_client"]

HELLO = """
from flowkit import Runtime, RunBuilder, StepContext, executor, package

@executor("hello/echo")
def echo(step: StepContext, input: str) -> str:
    return input.upper()

@package("hello")
def hello(run: RunBuilder, input: str) -> None:
    run.step("echo", echo, input)

with Runtime("sqlite:///var/hello.db", modules=[__name__]) as rt:
    print(rt.run("hello", "hi").result())
"""


def test_no_extra_and_nothing_of_the_checkout_is_there(core: Environment, tmp_path: Path) -> None:
    ask = f"import importlib.util as u; print([name for name in {OPTIONAL} if u.find_spec(name)])"
    assert core.python("-c", ask, cwd=tmp_path).out == "[]\n"
    where = core.python("-c", "import flowkit, sys; print(flowkit.__file__, sys.path)", cwd=tmp_path).out
    assert str(ROOT) not in where
    assert str(core.home) in where


def test_a_program_imports_it_and_runs_a_workflow(core: Environment, tmp_path: Path) -> None:
    program = tmp_path / "hello.py"
    program.write_text(HELLO)
    ended = core.python("-W", "error", str(program), cwd=tmp_path)
    assert (ended.code, ended.out, ended.err) == (0, "HI\n", "")


def test_the_command_tells_what_it_can_do(core: Environment, tmp_path: Path) -> None:
    ended = core.flowkit("--help", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert "Usage: flowkit" in ended.out
    assert core.python("-m", "flowkit", "--help", cwd=tmp_path).out == ended.out


@pytest.mark.parametrize(
    ("feature", "extra"),
    [
        ("from flowkit import Runtime; Runtime('postgresql:///app')", "postgres"),
        ("from flowkit.otel import OpenTelemetry", "otel"),
        ("from flowkit.prometheus import Prometheus", "prometheus"),
    ],
)
def test_what_needs_an_extra_says_how_to_install_it(
    core: Environment, tmp_path: Path, feature: str, extra: str
) -> None:
    ended = core.python("-c", feature, cwd=tmp_path)
    assert ended.code == 1
    assert "MissingExtra: " in ended.err
    assert f"pip install 'flowkit-durable[{extra}]'" in ended.err


def test_a_command_that_needs_an_extra_says_so_too(core: Environment, tmp_path: Path) -> None:
    ended = core.flowkit("worker", "--store", "sqlite:///x.db", "--metrics-port", "0", cwd=tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert "flowkit.prometheus needs the extra flowkit-durable[prometheus]" in ended.err


def test_a_worker_that_is_to_start_again_says_so_too(core: Environment, tmp_path: Path) -> None:
    ended = core.flowkit("worker", "--store", "sqlite:///x.db", "--reload", cwd=tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert "flowkit worker --reload needs the extra flowkit-durable[cli]" in ended.err
