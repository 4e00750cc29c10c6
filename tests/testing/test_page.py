"""The tests that the page about testing shows are tests: they are collected, and they pass."""

from __future__ import annotations

import re
from pathlib import Path

from tests.testing.conftest import Pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"


def test_the_tests_of_the_page_pass(run_pytest: Pytest) -> None:
    page = "\n\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
    shown = re.findall(r"^def (test_\w+)", page, re.MULTILINE)
    assert len(shown) >= 8
    run_pytest(page, ini="").assert_outcomes(passed=len(shown))
