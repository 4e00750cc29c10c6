"""``flowkit runs`` lists runs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Play, Shell

Printed = Callable[[str, str], None]


@pytest.fixture
def some(play: Play) -> None:
    """Three runs: one succeeded, one failed, one not begun."""
    play("order-1", {"id": "A-17", "items": ["tea", "cups"]}, metadata={"customer": 17})
    play("order-2", {"id": "broke"})
    play("order-3", {"id": "B-1", "items": ["a"]}, passes=0, name="An order with a name that takes a lot of room")


@pytest.mark.usefixtures("some")
def test_runs_are_listed_the_newest_first(shell: Shell, printed: Printed) -> None:
    ended = shell("runs")
    assert (ended.code, ended.err) == (0, "")
    printed("runs", ended.out)


@pytest.mark.usefixtures("some")
def test_a_listing_at_width_40_shows_each_run_below_the_other(shell: Shell, printed: Printed) -> None:
    ended = shell("runs", COLUMNS="40")
    assert max(map(len, ended.out.splitlines())) <= 40
    printed("runs-40", ended.out)


@pytest.mark.usefixtures("some")
def test_a_pipe_that_says_no_width_gets_every_column_whole(shell: Shell) -> None:
    assert "An order with a name that takes a lot of room" in shell("runs", COLUMNS="").out


@pytest.mark.usefixtures("some")
def test_runs_are_told_as_json(shell: Shell, printed: Printed) -> None:
    ended = shell("runs", "--status", "failed", "--json")
    assert (ended.code, ended.err) == (0, "")
    printed("runs-json", ended.out)


@pytest.mark.usefixtures("some")
@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["--status", "failed", "--status", "pending"], ["order-3", "order-2"]),
        (["--status", "failed,pending"], ["order-3", "order-2"]),
        (["--package", "order"], ["order-3", "order-2", "order-1"]),
        (["--package", "other"], []),
        (["--metadata", "customer=17"], ["order-1"]),
        (["--metadata", "customer=18"], []),
        (["--since", "2023-11-14T22:14:00"], ["order-3", "order-2"]),
        (["--since", "1h"], []),
        (["--until", "2023-11-14T22:14:00Z"], ["order-1"]),
        (["--limit", "1"], ["order-3"]),
    ],
)
def test_filters_choose_runs(shell: Shell, filters: list[str], found: list[str]) -> None:
    ended = shell("runs", "--json", *filters)
    assert ended.code == 0, ended.err
    assert [run["id"] for run in json.loads(ended.out)["runs"]] == found


@pytest.mark.usefixtures("some")
def test_a_listing_that_is_cut_says_so_where_it_disturbs_no_pipe(shell: Shell) -> None:
    ended = shell("runs", "--limit", "2")
    assert len(ended.out.splitlines()) == 3
    assert ended.err == "there are more: --limit 10 shows some of them\n"
    assert json.loads(shell("runs", "--limit", "2", "--json").out)["more"] is True


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--status", "faild"], "runs: status: expected some of "),
        (["--since", "yesterday"], "invalid value for '--since': expected a time like "),
        (["--since", "9999999d"], "invalid value for '--since': expected an age that leads to a year from 1 on, got "),
        (["--until", "99999999999d"], "invalid value for '--until': expected an age that leads to a year from 1 on, "),
        (["--since", f"{10**400}d"], "invalid value for '--since': expected an age that leads to a year from 1 on, "),
        (["--limit", "0"], "runs: limit: expected an int from 1"),
        (["--metadata", "customer"], "--metadata: expected KEY=VALUE, got 'customer'"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(shell: Shell, play: Play, arguments: list[str], error: str) -> None:
    ended = shell("runs", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {error}")
