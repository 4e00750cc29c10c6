"""``flowkit move``: a store goes to another place with its unfinished runs, and they end there."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from flowkit import Runtime
from tests.cli.conftest import STORE, Play, Shell
from tests.places import Place
from tests.stories.telling import eventually

Printed = Callable[[str, str], None]


def url_of(shell: Shell) -> str:
    return f"sqlite:///{shell.directory}/var/app.db"


@pytest.fixture
def unfinished(shell: Shell, play: Play) -> None:
    """One run that ended, one of which a step is done, and one that has not begun."""
    play("order-1", {"id": "A-17", "items": ["tea", "milk"]})
    play("order-2", {"id": "B-1", "items": ["coffee"]}, passes=0)
    with Runtime(url_of(shell), modules=["demo"], entry_points=False, max_workers=1) as slow:
        assert slow.run_once().processed == 1
    play("order-3", {"id": "C-9", "items": ["salt"]}, passes=0)


@pytest.mark.usefixtures("unfinished")
def test_unfinished_runs_end_at_the_other_store(shell: Shell, place: Place, printed: Printed) -> None:
    ended = shell("move", STORE, place.url)
    assert ended.code == 0, ended.err
    printed("move", ended.out)
    assert "start the workers at" in ended.err

    def elsewhere(*arguments: str) -> str:
        done = shell(*arguments, "--store", place.url)
        assert (done.code, done.err) == (0, "")
        return done.out

    told = json.loads(elsewhere("runs", "--json"))["runs"]
    standing = {"order-1": "succeeded", "order-2": "running", "order-3": "pending"}
    assert {run["id"]: run["status"] for run in told} == standing
    with shell.background("worker", "--store", place.url):
        for run_id, item in (("order-2", "coffee"), ("order-3", "salt")):
            output = json.loads(elsewhere("result", run_id, "--wait", "--timeout", "60"))
            assert output["parcels"] == [f"packed {item}"]
    assert shell("check", "--store", "--store", place.url).out == "the store is sound\n"


@pytest.mark.usefixtures("unfinished")
def test_what_was_moved_is_told_as_json(shell: Shell, place: Place) -> None:
    told = json.loads(shell("move", STORE, place.url, "--json").out)

    assert told["unfinished"] == 2
    assert (told["rows"]["runs"], told["rows"]["artifacts"], told["rows"]["records"]) == (3, 2, 2)


@pytest.mark.usefixtures("unfinished")
def test_nothing_is_moved_onto_runs_nor_onto_itself(shell: Shell, place: Place) -> None:
    assert shell("move", STORE, place.url).code == 0

    again = shell("move", STORE, place.url)
    assert (again.code, again.out) == (2, "")
    assert "error: the target is not empty: it has 3 runs\n" in again.err
    itself = shell("move", STORE, STORE)
    assert (itself.code, itself.out) == (2, "")
    assert itself.err.startswith("error: the target is the source\n")
    (shell.directory / "linked.db").symlink_to(shell.directory / "var" / "app.db")
    assert shell("move", STORE, "sqlite:///linked.db").err.startswith("error: the target is the source\n")


@pytest.mark.usefixtures("unfinished")
def test_nothing_is_moved_to_where_it_would_be_gone(shell: Shell) -> None:
    ended = shell("move", STORE, "sqlite://")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: the target is in memory, and would be gone at once\n")
    assert "hint: name a file or a database\n" in ended.err


@pytest.mark.usefixtures("unfinished")
def test_nothing_is_moved_away_from_under_a_worker(shell: Shell, place: Place) -> None:
    with shell.background("worker", "--store", STORE) as worker:
        assert worker.stderr is not None
        name = worker.stderr.readline().split()[1]
        with Runtime(url_of(shell), entry_points=False) as runtime:
            eventually(lambda: any(one.id.startswith(name) for one in runtime.stats().workers))

        ended = shell("move", STORE, place.url)

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"error: workers are at the store: {name}")
    assert "hint: stop them" in ended.err


def test_a_store_that_is_not_there_cannot_be_moved(shell: Shell, place: Place) -> None:
    ended = shell("move", "sqlite:///nowhere.db", place.url)

    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("error: there is no store\nwhere: sqlite:///nowhere.db\n")
    assert not (shell.directory / "nowhere.db").exists()
