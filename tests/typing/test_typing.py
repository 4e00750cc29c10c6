"""Type checkers accept good.py, and refuse each marked line of bad.py and no other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MYPYPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def refused_by_mypy(file: str) -> set[int]:
    pytest.importorskip("mypy")
    done = run("mypy", "--strict", "--explicit-package-bases", "--namespace-packages", f"tests/typing/{file}")
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return {int(line) for line in re.findall(rf"^tests.typing.{file}:(\d+): error:", done.stdout, re.MULTILINE)}


def refused_by_pyright(file: str) -> set[int]:
    pytest.importorskip("pyright")
    done = run("pyright", "--pythonpath", sys.executable, "--outputjson", f"tests/typing/{file}")
    if not done.stdout.startswith("{"):
        pytest.skip(f"pyright does not run here: {done.stderr[-200:]}")
    found = [one for one in json.loads(done.stdout)["generalDiagnostics"] if one["severity"] == "error"]
    return {one["range"]["start"]["line"] + 1 for one in found if Path(one["file"]).name == file}


def marked(file: str) -> set[int]:
    lines = (HERE / file).read_text().splitlines()
    return {number for number, line in enumerate(lines, start=1) if line.endswith("# error")}


CHECKERS = pytest.mark.parametrize("refused_by", [refused_by_mypy, refused_by_pyright])


@CHECKERS
def test_the_language_is_understood_by_type_checkers(refused_by):
    assert refused_by("good.py") == set()


@CHECKERS
def test_each_mistake_is_refused_and_nothing_else(refused_by):
    assert refused_by("bad.py") == marked("bad.py")
