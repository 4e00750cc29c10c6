"""Every example runs as a program of its own and prints what it is there to show."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PLUGIN = "flowkit.testing.plugin"
SECONDS = 60

EXPECTED: dict[str, list[str]] = {
    "aio.py": ["168 kJ", "336 kJ", "504 kJ", r"the newest three: \['succeeded'\]"],
    "artifacts.py": [
        "squares.csv: 792641 bytes of text/csv, external-artifact-ref",
        "notes.txt: 13 bytes of text/plain, inline-artifact",
        r"b'50000 squares' {'language': 'en'}",
        r"b'0,0\\n' b'1,1\\n'",
    ],
    "async_steps.py": [
        "100 bodies, 'body of /page/99' the last of them",
        "not 20 s, as one after another, but less than half of it",
        "attempt 1 is told that its time is over",
        "attempt 2 is told that its time is over",
        "timeout",
    ],
    "cancel.py": [
        "status after cancel_run: canceling",
        "encode: told to stop, tidying up",
        "in the end: canceled",
        r"publish: canceled \(run\)",
        "too late: succeeded",
    ],
    "dask_cluster.py": ["pi is about 3.1416, off by 1e-05", "8 slices were added up"],
    "dynamic_fan_out.py": [
        "north: 2 titles, 8 letters",
        "south: 3 titles, 13 letters",
        r"title\[eels\] \(from list\)",
        r"report \(from list\)",
    ],
    "fan_out_join.py": [
        r"page\[1\]  failed",
        "index    succeeded",
        "tea.pdf: 5 words on 3 pages, 1 of them blank",
    ],
    "hello.py": ["processed 1 step\\(s\\)", "RunStatus.SUCCEEDED", "{'echoed': 'hello workflow'}"],
    "operators.py": [
        "it waits for 1 step: 'layout'",
        "queue 'press' is paused",
        "failed: failed, it failed at .* with out_of_paper: the tray is empty",
        "pages of Monday, printed",
        "generation 1, attempt 1: succeeded",
        "1 run removed, None is left",
    ],
    "own_transaction.py": ["shipped tea", "rolled back: no run of it was started", "orders: 1"],
    "process_pool.py": ["999983 was found in another process", "1000000 on my-thread", "hang: timeout"],
    "projection.py": [
        r"1 row\(s\) written by the second run",
        "{'item': 'cups', 'cents': 1200}",
        "{'item': 'tea', 'cents': 475}",
    ],
    "rate_limit.py": [
        # 3 at once and 20 a second: the tenth cannot start before 0.35 s are over.
        r"10 starts in (0\.(3[5-9]|[4-9]\d)|[1-9]\d*\.\d\d) s, at most \d+\.\d were allowed",
        r"mail: max_workers 2, rate_limit RateLimit\(rate_per_second=20.0, burst=3\)",
    ],
    "records_and_progress.py": [
        "event step_succeeded read",
        "the highest was 21.0",
        "record 0002: {'celsius': 21.0}",
        r"Progress\(done=3, total=3, message='read 21.0'\)",
        "history: steps_added, step_leased, step_succeeded, run_finished",
    ],
    "retries.py": [
        "tea reserved in attempt 3",
        r"reserve 2: retried \(warehouse_busy: attempt 2 found it busy\)",
        r"call 1: retried \(executor_error: ConnectionResetError: the line went dead\)",
        "limited 2: succeeded",
        "check: no_such_item: nobody sells unicorns, retryable: False",
    ],
    "testing_workflows.py": [r"4 passed in .*"],
}
"""What each example must print: lines, as regular expressions."""

WITH_ARGUMENTS = {"code_index.py"}
"""What has tests of its own below."""


def environment() -> dict[str, str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    installed = any(one.value == PLUGIN for one in entry_points(group="pytest11"))
    own = {} if installed else {"PYTEST_PLUGINS": PLUGIN}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **own}


def run_example(name: str, *arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(
        command, cwd=directory, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_every_example_has_an_expectation():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED) | WITH_ARGUMENTS


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_example_shows_what_it_is_about(name, tmp_path):
    done = run_example(name, directory=tmp_path)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    printed = done.stdout.splitlines()
    missing = [line for line in EXPECTED[name] if not any(re.fullmatch(line, one) for one in printed)]
    assert missing == [], done.stdout
    assert {path.name for path in tmp_path.iterdir()} <= {"var"}


@pytest.mark.parametrize("name", ["hello.py", "operators.py", "own_transaction.py", "projection.py"])
def test_an_example_may_run_again_in_the_same_place(name, tmp_path):
    run_example(name, directory=tmp_path)

    again = run_example(name, directory=tmp_path)

    assert (again.returncode, again.stderr) == (0, ""), again.stdout


@pytest.fixture
def tree(tmp_path):
    """A source tree with two modules that are fine, one that is no Python and one that is no text."""
    root = tmp_path / "tree"
    (root / "shop").mkdir(parents=True)
    (root / "shop" / "__init__.py").write_text('"""Sell tea."""\n')
    (root / "shop" / "till.py").write_text('"""Take money."""\nimport json\n\n\ndef charge(): ...\n')
    (root / "broken.py").write_text("def (:\n")
    (root / "binary.py").write_bytes(b'name = "\xff\xfe"\n')
    (root / "notes.txt").write_text("not a module")
    return root


def test_the_code_index_finds_what_is_readable_and_counts_what_is_not(tree, tmp_path):
    done = run_example("code_index.py", str(tree), "--search", "money", directory=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"indexing {tree}, run code-index-")
    assert "2 modules, 6 lines, 1 names; 2 unreadable" in lines
    assert [line.split() for line in lines if line.startswith("  shop")] == [["shop.till", "Take", "money."]]


def test_the_code_index_is_made_once(tree, tmp_path):
    run_example("code_index.py", str(tree), directory=tmp_path)
    (tree / "late.py").write_text("late = True\n")

    again = run_example("code_index.py", str(tree), directory=tmp_path)

    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith(f"found the index of {tree}, run code-index-")
    assert "2 modules, 6 lines, 1 names; 2 unreadable" in again.stdout.splitlines()


def test_the_code_index_of_a_tree_that_was_missing_is_made_once_it_is_there(tree, tmp_path):
    moved = tree.rename(tmp_path / "elsewhere")
    missing = run_example("code_index.py", str(tree), directory=tmp_path)
    assert missing.returncode == 1
    assert f"scan: no_such_tree: {tree} is not a directory" in missing.stderr
    moved.rename(tree)

    done = run_example("code_index.py", str(tree), directory=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert "2 modules, 6 lines, 1 names; 2 unreadable" in done.stdout.splitlines()


def checked(*arguments: str) -> subprocess.CompletedProcess[str]:
    own = {"MYPYPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **own}, capture_output=True, text=True, timeout=110, check=False
    )


def test_mypy_accepts_the_examples():
    pytest.importorskip("mypy")
    done = checked("mypy", "--strict", *(str(path) for path in sorted(EXAMPLES.glob("*.py"))))
    assert done.returncode == 0, done.stdout + done.stderr


def test_pyright_accepts_the_examples():
    pytest.importorskip("pyright")
    done = checked("pyright", "--pythonpath", sys.executable, "--outputjson", "examples")
    if not done.stdout.startswith("{"):
        pytest.skip(f"pyright does not run here: {done.stderr[-200:]}")
    assert [one for one in json.loads(done.stdout)["generalDiagnostics"] if one["severity"] == "error"] == []
