"""What flowkit offers by name: checkers see every name, and a program that uses none of them waits for none."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import flowkit

SOURCE = Path(flowkit.__file__)
HEAVY = {"peewee", "structlog", "cattrs", "asyncio", "sqlite3", "flowkit.store", "flowkit.runtime"}


def names_that_checkers_see() -> set[str]:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.name for node in guard.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_checkers_and_programs_see_the_same_names() -> None:
    assert names_that_checkers_see() == set(flowkit.__all__) == set(flowkit._HOME)
    assert [name for name in flowkit.__all__ if not hasattr(flowkit, name)] == []
    assert set(flowkit.__all__) <= set(dir(flowkit))


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Runtme'"):
        flowkit.Runtme  # noqa: B018


@pytest.mark.parametrize("light", ["flowkit", "flowkit.testing.plugin", "flowkit.cli.main"])
def test_what_is_loaded_without_being_used_is_light(light: str) -> None:
    ask = f"import sys, {light}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=60, check=True)
    assert set(done.stdout.split()) & HEAVY == set()


@pytest.mark.parametrize("call", ["start_run", "start_runs", "run"])
def test_help_shows_how_a_run_is_started(call: str) -> None:
    # They have overloads that a type checker reads; whoever asks Python gets the names of the parameters all the same.
    parameters = inspect.signature(getattr(flowkit.Runtime, call)).parameters
    assert list(parameters)[:2] == ["self", "package"]
    assert {"name", "metadata"} <= {name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
    refused = pytest.raises(TypeError, match=rf"Runtime\.{call}\(\)")
    with flowkit.Runtime("sqlite://", entry_points=False) as rt, refused:
        getattr(rt, call)("nothing", [], priority=1)
