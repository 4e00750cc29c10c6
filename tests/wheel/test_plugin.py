"""The pytest plugin that the wheel brings works in a project that knows nothing of the checkout."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.wheel.environment import ROOT, Environment

QUIET = ("-W", "error", "-o", "asyncio_default_fixture_loop_scope=function", "-p", "no:cacheprovider")


def test_the_tests_of_the_manual_pass_in_parallel(with_pytest: Environment, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    tests = "\n\n".join(re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    (tmp_path / "test_page.py").write_text(tests, encoding="utf-8")
    ended = with_pytest.python("-m", "pytest", *QUIET, "-n", "2", cwd=tmp_path)
    assert ended.code == 0, ended.out + ended.err
    assert f"{tests.count(chr(10) + 'def test_')} passed" in ended.out


def test_the_example_of_the_checkout_passes_too(with_pytest: Environment, tmp_path: Path) -> None:
    example = shutil.copy(ROOT / "examples" / "testing_workflows.py", tmp_path)
    ended = with_pytest.python("-m", "pytest", *QUIET, example, cwd=tmp_path)
    assert ended.code == 0, ended.out + ended.err
    assert "flowkit: " in ended.out
