"""The code index is killed half-way and started again: nothing is missing, nothing is there twice or done again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowkit import Runtime, SQLiteProjectionStore, SQLiteStore
from tests.test_examples import EXAMPLES, environment

MODULES = 300
BEFORE_THE_KILL = 40

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX")


@pytest.fixture
def tree(tmp_path):
    """Modules that take some ten milliseconds each to read."""
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(MODULES):
        body = "".join(f"def f{line}(x):\n    return [x + {line}, x * {line}]\n" for line in range(200))
        (root / f"m{number:03d}.py").write_text(f'"""Module {number}."""\n{body}')
    return root


def command(tree: Path) -> list[str]:
    return [sys.executable, str(EXAMPLES / "code_index.py"), str(tree), "--directory", "index", "--every", "0.05"]


def kill_half_way(tree: Path, directory: Path) -> None:
    """Start the program and kill it, with all that it started, once it says that some modules are done."""
    process = subprocess.Popen(
        command(tree), cwd=directory, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        done = re.match(r" +(\d+) of \d+ steps done", line)
        if done and int(done[1]) > BEFORE_THE_KILL:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL


def open_index(directory: Path) -> Runtime:
    projections = SQLiteProjectionStore(directory / "index" / "projections")
    store = SQLiteStore(directory / "index" / "engine.db")
    return Runtime(store, entry_points=False, projection_store=projections)


def test_a_killed_index_goes_on_where_it_was(tree, tmp_path):
    kill_half_way(tree, tmp_path)
    with open_index(tmp_path) as rt:
        (run,) = rt.runs()
        done_before = {step.id: step.ended_at for step in rt.steps(run.id, status="succeeded")}
    assert BEFORE_THE_KILL < len(done_before) < MODULES

    finished = subprocess.run(
        command(tree), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=100, check=False
    )

    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith(f"going on with {tree}, run {run.id}")
    with open_index(tmp_path) as rt:
        indexed = [row["path"] for row in rt.projection("code").query("SELECT path FROM modules")]
        assert sorted(indexed) == [f"m{number:03d}.py" for number in range(MODULES)]
        steps = rt.steps(run.id)
        assert {step.status for step in steps} == {"succeeded"}
        outcomes = {step.id: [attempt.outcome for attempt in rt.attempts(run.id, step.id)] for step in steps}
        assert {step_id for step_id in done_before if outcomes[step_id] != ["succeeded"]} == set()
        assert done_before.items() <= {step.id: step.ended_at for step in steps}.items()
        # Only what was in flight when the kill came was begun a second time.
        redone = [each for each in outcomes.values() if each != ["succeeded"]]
        assert [each for each in redone if each != ["lost", "succeeded"]] == []
        assert len(redone) <= min(32, (os.cpu_count() or 1) + 4)
