"""``flowkit check`` tries the project's code on the store, and ``flowkit check --store`` the store itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

import pytest

from tests.cli.conftest import DEMO, Play, Shell

Printed = Callable[[str, str], None]


@pytest.fixture
def waiting(play: Play) -> None:
    """A run of which nothing has been done yet."""
    play("order-1", {"id": "A-17", "items": ["tea", "cups"]}, passes=0)


@pytest.fixture
def done(play: Play) -> None:
    """A run that has succeeded."""
    play("order-1", {"id": "A-17", "items": ["tea", "cups"]})


def by_hand(shell: Shell, sql: str) -> None:
    connection = sqlite3.connect(shell.directory / "var" / "app.db")
    with connection:
        assert connection.execute(sql).rowcount > 0
    connection.close()


@pytest.mark.usefixtures("waiting")
def test_code_that_serves_every_unfinished_run_is_fit(shell: Shell) -> None:
    ended = shell("check")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "4 open steps of 1 unfinished run: this code serves all of them\n"


@pytest.mark.usefixtures("waiting")
def test_a_removed_kind_with_one_waiting_step_is_found(shell: Shell, printed: Printed) -> None:
    shell.write("demo.py", DEMO.replace('"shop/ship"', '"shop/sail"'))
    ended = shell("check")
    assert (ended.code, ended.err) == (1, "")
    printed("check-kind", ended.out)


@pytest.mark.usefixtures("waiting")
def test_an_input_that_no_longer_decodes_is_found(shell: Shell, printed: Printed) -> None:
    shell.write("demo.py", DEMO.replace("    id: str\n", "    id: str\n    customer: int\n"))
    ended = shell("check")
    assert (ended.code, ended.err) == (1, "")
    printed("check-input", ended.out)


@pytest.mark.usefixtures("waiting")
def test_findings_of_the_code_are_told_as_json(shell: Shell) -> None:
    shell.write("demo.py", DEMO.replace('"shop/ship"', '"shop/sail"'))
    ended = shell("check", "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["sound"], found["runs"], found["steps"]) == (1, False, 1, 4)
    (misfit,) = found["misfits"]
    assert (misfit["problem"], misfit["kind"], misfit["count"]) == ("unknown_kind", "shop/ship", 1)


@pytest.mark.usefixtures("waiting")
def test_a_check_without_modules_is_refused(shell: Shell) -> None:
    shell.write("pyproject.toml", '[tool.flowkit]\nstore = "sqlite:///var/app.db"\n')
    ended = shell("check")
    assert (ended.code, ended.out) == (2, "")
    assert "error: there are no modules to check" in ended.err


@pytest.mark.usefixtures("done")
def test_a_sound_store_is_sound(shell: Shell) -> None:
    ended = shell("check", "--store")
    assert (ended.code, ended.out, ended.err) == (0, "the store is sound\n", "")


@pytest.mark.usefixtures("done")
def test_a_payload_with_a_flipped_byte_is_found(shell: Shell, printed: Printed) -> None:
    by_hand(shell, """UPDATE results SET body = CAST(replace(body, 'receipt', 'Receipt') AS BLOB)
        WHERE step = (SELECT key FROM steps WHERE id = 'charge')""")
    ended = shell("check", "--store")
    assert (ended.code, ended.err) == (1, "")
    printed("check-store", ended.out)
    assert json.loads(shell("check", "--store", "--json").out)["findings"][0]["invariant"] == "I22"


@pytest.mark.usefixtures("done")
def test_what_is_only_a_count_is_mended_and_that_is_remembered(shell: Shell) -> None:
    by_hand(shell, "UPDATE runs SET failed_steps = 7")
    assert shell("check", "--store").code == 1

    ended = shell("check", "--store", "--repair")
    assert (ended.code, ended.out) == (0, "mended: runs counted again: 1\nthe store is sound\n")

    ended = shell("check", "--store")
    assert (ended.code, ended.err) == (0, "1 row of it had to be mended before\n")


@pytest.mark.usefixtures("done")
def test_the_store_that_is_checked_can_be_named_too(shell: Shell) -> None:
    ended = shell("check", "--store", "--store", "sqlite:///nowhere.db")
    assert (ended.code, ended.out) == (3, "")


@pytest.mark.usefixtures("done")
def test_a_repair_is_one_of_the_store(shell: Shell) -> None:
    ended = shell("check", "--repair")
    assert (ended.code, ended.out) == (2, "")
    assert "flowkit check --store --repair" in ended.err
