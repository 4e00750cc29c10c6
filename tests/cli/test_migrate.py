"""``flowkit migrate`` shows the schema's version and brings an older store to the newest."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

import pytest

from flowkit import Runtime
from flowkit.store.versions import VERSION
from tests.cli.conftest import STORE, Shell

Printed = Callable[[str, str], None]


@pytest.mark.usefixtures("store")
def test_a_store_of_the_newest_version_needs_nothing(shell: Shell, printed: Printed) -> None:
    ended = shell("migrate")
    assert (ended.code, ended.err) == (0, "")
    printed("migrate", ended.out)
    told = json.loads(shell("migrate", "--json").out)
    assert told == {"before": VERSION, "version": VERSION, "newest": VERSION, "copy": None}
    assert shell("migrate", "--check").code == 0


def test_an_older_one_is_first_shown_and_then_brought_there(shell: Shell) -> None:
    shell.write("var/app.db", "")
    ended = shell("migrate", "--check")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out == f"{STORE} has schema version 0; this flowkit needs {VERSION}\n"
    ended = shell("migrate")
    assert (ended.code, ended.out) == (0, f"{STORE} was brought from schema version 0 to {VERSION}\n")
    assert shell("runs").err == "there are no runs yet\n"


def test_a_newer_one_is_left_as_it_is(shell: Shell, store: Runtime) -> None:
    store.close()
    connection = sqlite3.connect(shell.directory / "var" / "app.db")
    with connection:
        connection.execute("UPDATE meta SET number = 99 WHERE key = 'schema'")
    connection.close()
    ended = shell("migrate", "--yes")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: the store has schema version 99, this flowkit knows up to")
    assert "hint: use the flowkit that wrote it, or a newer one\n" in ended.err


def test_a_store_that_is_not_there_is_not_made(shell: Shell) -> None:
    ended = shell("migrate")
    assert (ended.code, ended.out) == (3, "")
    assert not (shell.directory / "var").exists()
