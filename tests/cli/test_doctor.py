"""``flowkit doctor`` says what keeps work from being done, and how to mend it."""

from __future__ import annotations

import json
from collections.abc import Callable

from flowkit import Runtime
from flowkit.store.versions import VERSION
from tests.cli.conftest import Play, Shell

Printed = Callable[[str, str], None]


def test_a_store_without_work_is_healthy(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-1", {"id": "A-17", "items": ["tea"]})
    ended = shell("doctor")
    assert (ended.code, ended.err) == (0, "")
    printed("doctor-healthy", ended.out)


def test_each_problem_comes_with_how_to_mend_it(shell: Shell, play: Play, store: Runtime, printed: Printed) -> None:
    store.pause_queue("trucks")
    play("order-1", {"id": "A-17", "items": ["tea"]}, passes=2)
    shell.write("pyproject.toml", '[tool.flowkit]\nstore = "sqlite:///var/app.db"\nmodules = ["demo", "gone"]\n')
    ended = shell("doctor")
    assert (ended.code, ended.err) == (1, "")
    printed("doctor", ended.out)


def test_the_diagnosis_is_told_as_json(shell: Shell, play: Play) -> None:
    play("order-1", {"id": "A-17", "items": ["tea"]}, passes=0)
    ended = shell("doctor", "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["healthy"], told["schema_version"]) == (1, False, VERSION)
    assert [one["what"] for one in told["complaints"]] == ["3 steps are open and no worker runs"]


def test_a_store_that_is_not_there_is_not_made(shell: Shell) -> None:
    ended = shell("doctor")
    assert (ended.code, ended.out) == (3, "")
    assert not (shell.directory / "var").exists()
