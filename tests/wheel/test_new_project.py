"""From an empty directory to a project that runs and is tested, with what the wheel brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wheel.environment import Environment


@pytest.fixture
def demo(core: Environment, tmp_path: Path) -> Path:
    """A new project."""
    ended = core.flowkit("init", "demo", cwd=tmp_path)
    assert ended.code == 0, ended.err
    return tmp_path / "demo"


def test_a_new_project_runs_at_once(core: Environment, demo: Path) -> None:
    ended = core.flowkit("run", "hello", "--run-id", "first", "--wait", cwd=demo)
    assert (ended.code, ended.out) == (0, "run first succeeded\n"), ended.err
    assert core.flowkit("result", "first", cwd=demo).out.strip() == '"HELLO WORKFLOW"'


def test_a_run_is_looked_at_without_any_extra(core: Environment, demo: Path) -> None:
    core.flowkit("run", "hello", "--run-id", "first", "--wait", cwd=demo)
    for command in ("watch", "show", "graph", "timeline"):
        ended = core.flowkit(command, "@last", cwd=demo)
        assert (ended.code, "shout" in ended.out, ended.err) == (0, True, "")
    drawn = core.flowkit("graph", "hello", "--format", "svg", cwd=demo)
    assert (drawn.code, drawn.out.startswith("<svg ")) == (0, True), drawn.err


def test_without_wait_the_run_is_stored_and_waits_for_a_worker(core: Environment, demo: Path) -> None:
    ended = core.flowkit("run", "hello", "--run-id", "first", cwd=demo)
    assert (ended.code, ended.out) == (0, "run first is stored\n"), ended.err
    assert "waits for a worker" in ended.err
    assert '"status": "pending"' in core.flowkit("show", "first", "--json", cwd=demo).out


def test_the_tests_of_a_new_project_pass(with_pytest: Environment, demo: Path) -> None:
    # Of pytest-asyncio, which is installed here too, the first word is a warning.
    quiet = "asyncio_default_fixture_loop_scope=function"
    ended = with_pytest.python("-m", "pytest", "-W", "error", "-o", quiet, cwd=demo)
    assert ended.code == 0, ended.out + ended.err
    assert "2 passed" in ended.out
