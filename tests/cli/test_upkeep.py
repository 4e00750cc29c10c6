"""``flowkit explain``, ``packages``, ``executors`` and ``prune``: what an operator asks of a store, and clears away."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from flowkit import FileArtifactStore, Runtime
from tests.cli.conftest import Play, Shell

Printed = Callable[[str, str], None]


def test_a_step_that_is_not_running_is_explained(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-1", {"id": "A-17", "items": ["tea"]}, passes=0)
    ended = shell("explain", "@last", "ship")
    assert (ended.code, ended.err) == (0, "")
    printed("explain", ended.out)
    told = json.loads(shell("explain", "order-1", "charge", "--json").out)
    assert (told["status"], told["reason"]) == ("ready", "unserved")


def test_explaining_a_step_that_is_not_there_says_so(shell: Shell, play: Play) -> None:
    play("order-1", {"id": "A-17"}, passes=0)
    ended = shell("explain", "order-1", "nothing")
    assert (ended.code, ended.out) == (3, "")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("command", ["packages", "executors"])
def test_what_is_registered_is_listed(shell: Shell, printed: Printed, command: str) -> None:
    ended = shell(command)
    assert (ended.code, ended.err) == (0, "")
    printed(command, ended.out)
    assert len(json.loads(shell(command, "--json").out)[command]) == {"packages": 1, "executors": 4}[command]


@pytest.fixture
def old(play: Play, store: Runtime) -> None:
    """Two runs that ended long ago by the real clock, one succeeded and one failed, and one that did not end."""
    play("order-1", {"id": "A-17", "items": ["tea"]})
    play("order-2", {"id": "broke"})
    play("order-3", {"id": "B-1"}, passes=0)


def left(store: Runtime) -> list[str]:
    return [run.id for run in store.runs()]


@pytest.mark.usefixtures("old")
def test_nothing_is_removed_unasked(shell: Shell, store: Runtime) -> None:
    ended = shell("prune", "--older-than", "30d")
    assert (ended.code, ended.out) == (2, "")
    assert "error: 2 runs would be removed for good" in ended.err
    assert len(left(store)) == 3


@pytest.mark.usefixtures("old")
def test_old_runs_of_a_status_are_removed(shell: Shell, store: Runtime) -> None:
    ended = shell("prune", "--older-than", "30d", "--status", "failed", "--yes")
    assert (ended.code, ended.out) == (0, "removed 1 run and 0 artifact files (0 bytes)\n")
    assert left(store) == ["order-3", "order-1"]


@pytest.mark.usefixtures("old")
def test_runs_that_are_not_old_enough_or_have_not_ended_stay(shell: Shell, store: Runtime) -> None:
    assert shell("prune", "--older-than", "999999d", "--yes").out.startswith("removed 0 runs")
    assert len(left(store)) == 3
    assert shell("prune", "--older-than", "30d", "--yes").out.startswith("removed 2 runs")
    assert left(store) == ["order-3"]


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("option", ["--older-than", "--grace"])
def test_an_age_beyond_all_bounds_is_refused(shell: Shell, store: Runtime, option: str) -> None:
    ended = shell("prune", "--older-than", "30d", option, "99999999999999999d", "--yes")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: invalid value for '{option}': expected at most 1000000d, got ")
    assert len(left(store)) == 3


@pytest.mark.usefixtures("old")
def test_artifact_files_that_no_run_refers_to_go_after_the_grace(shell: Shell) -> None:
    shell.write("pyproject.toml", '[tool.flowkit]\nstore = "sqlite:///var/app.db"\nartifacts = "var/files"\n')
    FileArtifactStore(shell.directory / "var" / "files").put(b"nobody's")

    assert json.loads(shell("prune", "--older-than", "30d", "--yes", "--json").out)["artifacts"] == 0
    ended = shell("prune", "--older-than", "30d", "--grace", "0", "--yes", "--json")

    assert json.loads(ended.out) == {"runs": 0, "artifacts": 1, "unfinished": 0, "bytes": 8}
