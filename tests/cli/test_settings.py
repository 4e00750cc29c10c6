"""Settings come from the arguments, else from the environment, else from the project's file."""

from __future__ import annotations

import pytest

from tests.cli.conftest import STORE, Play, Shell


def test_without_a_store_in_any_of_the_three_places_they_are_named(empty: Shell) -> None:
    ended = empty("runs")
    assert (ended.code, ended.out) == (2, "")
    error, where, hint = ended.err.splitlines()
    assert error == "error: no store is named"
    assert where.startswith("where: ")
    assert [name in hint for name in ("--store", "FLOWKIT_STORE", "[tool.flowkit]", "[flowkit]")] == [True] * 4


def test_a_store_that_is_not_there_is_not_made_by_looking_at_it(empty: Shell) -> None:
    ended = empty("runs", "--store", STORE)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith(f"error: there is no store\nwhere: {STORE}\nhint: ")
    assert list(empty.directory.iterdir()) == []


def where(shell: Shell, *arguments: str, **environment: str) -> str:
    """Return which store a command looked for."""
    return shell("runs", *arguments, **environment).err.splitlines()[1].removeprefix("where: ")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", '[tool.flowkit]\nstore = "sqlite:///file.db"\n'),
        ("setup.cfg", "[flowkit]\nstore = sqlite:///file.db\n"),
    ],
)
def test_arguments_win_over_the_environment_and_that_over_the_file(empty: Shell, file: str, text: str) -> None:
    empty.write(file, text)
    assert where(empty) == "sqlite:///file.db"
    assert where(empty, FLOWKIT_STORE="sqlite:///env.db") == "sqlite:///env.db"
    assert where(empty, "--store", "sqlite:///arg.db", FLOWKIT_STORE="sqlite:///env.db") == "sqlite:///arg.db"


def test_the_file_of_a_directory_above_counts_and_its_paths_are_meant_from_there(empty: Shell) -> None:
    empty.write("pyproject.toml", '[tool.flowkit]\nstore = "sqlite:///var/app.db"\n')
    empty.write("src/deep/setup.cfg", "[metadata]\nname = other\n")
    below = Shell(empty.directory / "src" / "deep")
    assert where(below) == "sqlite:///../../var/app.db"


def test_a_password_in_the_url_is_not_shown(empty: Shell) -> None:
    ended = empty("runs", "--store", "mysql://me:secret@db/app")
    assert ended.code == 2
    assert "secret" not in ended.err
    assert "where: mysql://me:***@db/app" in ended.err


@pytest.mark.parametrize(
    ("text", "error", "hint"),
    [
        ('stroe = "x"', "there is no setting 'stroe'", "did you mean 'store'?"),
        ("store = 5", "store: expected a text, got 5", ""),
        ("modules = [1]", "modules: expected a list of module names, got [1]", ""),
        ("queues = 1", "queues: expected a table of queues, got 1", ""),
        ("queues.mail.rate = 1", "there is no setting 'queues.mail.rate'", "rate_per_second"),
        ('queues.mail.max_workers = "many"', "queues.mail: ", ""),
        ("queues.mail.max_workers = 2.9", "queues.mail: ", ""),
        ("queues.mail.burst = 5", "queues.mail: burst belongs to a rate", ""),
        ("[", "cannot read the settings: ", ""),
    ],
)
def test_a_setting_that_is_none_is_refused_naming_the_file(empty: Shell, text: str, error: str, hint: str) -> None:
    empty.write("pyproject.toml", f"[tool.flowkit]\n{text}\n")
    ended = empty("runs")
    assert ended.code == 2
    assert ended.err.startswith(f"error: {error}")
    assert f"where: {empty.directory / 'pyproject.toml'}\n" in ended.err
    assert hint in ended.err


def test_runs_are_read_where_the_project_says(shell: Shell, play: Play) -> None:
    play("order-1", {"id": "A-17", "items": ["tea"]})
    assert shell("runs").out.splitlines()[1].startswith("order-1  succeeded")
