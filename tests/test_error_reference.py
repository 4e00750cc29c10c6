"""The reference of errors is complete: every class that can be raised, and every code that flowkit itself stores."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import flowkit
from flowkit import FlowkitError, StepFailure, errors

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "errors.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
CLASSES = {
    name
    for name, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, (FlowkitError, StepFailure)) and found is not FlowkitError
}


def test_every_error_has_its_row():
    assert sorted(name for name in ROWS if name[0].isupper()) == sorted(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_can_be_imported_from_the_top(name):
    assert getattr(flowkit, name) is getattr(errors, name)


@pytest.mark.parametrize("code", [name for name in ROWS if name[0].islower()])
def test_every_code_of_the_reference_is_one_that_flowkit_stores(code):
    sources = (ROOT / "flowkit").rglob("*.py")
    assert any(f'"{code}"' in source.read_text() for source in sources)
