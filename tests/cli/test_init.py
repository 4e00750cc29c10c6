"""``flowkit init`` makes a project that works from the first minute."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points

import pytest

from flowkit import Runtime
from tests.cli.conftest import SECONDS, Shell

Printed = Callable[[str, str], None]
PLUGIN = "flowkit.testing.plugin"


def test_a_new_project_has_a_passing_test(empty: Shell, printed: Printed) -> None:
    ended = empty("init", "shop")
    assert (ended.code, ended.err) == (0, "")
    printed("init", ended.out)

    installed = any(one.value == PLUGIN for one in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", PLUGIN]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin],
        cwd=empty.directory / "shop",
        env=empty.variables(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_its_package_runs_in_the_store_that_its_setting_names(
    empty: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty("init", "shop")
    project = empty.directory / "shop"
    monkeypatch.syspath_prepend(project)
    with Runtime(f"sqlite:///{project / 'var' / 'shop.db'}", modules=["shop"], entry_points=False) as runtime:
        assert runtime.run("hello").result() == "HELLO WORKFLOW"
    sys.modules.pop("shop", None)

    listed = Shell(project)("runs", "--status", "succeeded")

    assert (listed.code, listed.out.count("hello-")) == (0, 1)


@pytest.mark.parametrize("name", ["my-shop", "class", "flowkit", "../up", ""])
def test_what_cannot_name_a_module_is_refused(empty: Shell, name: str) -> None:
    ended = empty("init", name)
    assert (ended.code, ended.out) == (2, "")
    assert list(empty.directory.iterdir()) == []


def test_nothing_that_is_there_is_written_over(empty: Shell) -> None:
    mine = empty.write("shop/shop.py", "mine")
    ended = empty("init", "shop")
    assert (ended.code, ended.out) == (2, "")
    assert mine.read_text() == "mine"
