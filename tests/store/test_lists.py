"""A statement about a list says the same of one value as of many, though it says it without a list."""

from __future__ import annotations

from typing import Any

import pytest

from flowkit.store.engine import Engine
from flowkit.store.lists import KEY, VALUE, Marker, picked_of_one
from flowkit.store.statements import Statement, insert_into, param
from tests.store.flow import Flow, plan, step

ODD = ["plain", "it's", 'a "quoted" one', "50% of %s", "what? why?", "é\n✓", "[1, 2]", "null", "\\N"]


@pytest.fixture
def named(engine: Engine) -> Statement:
    """Counters by their names."""
    m = engine.tables.meta
    return engine.db.compile(m.select(m.key, m.number).where(m.key.in_(engine.db.dialect.texts("names"))))


@pytest.fixture
def renumber(engine: Engine) -> Statement:
    """Counters set to what is said of each, if they were what is said of each."""
    m = engine.tables.meta
    b = engine.db.dialect.batch("rows", m.key, "was", "number", texts={KEY})
    update = m.update({m.number: b.c.number + param("more")}).from_(b)
    return engine.db.compile(update.where(b.is_named & (m.number == b.c.was)).returning(m.key, m.number))


@pytest.fixture(autouse=True)
def counters(engine: Engine) -> None:
    with engine.write() as tx:
        for number, name in enumerate(ODD):
            tx.many(_insert(engine), [(name, number)])


def _insert(engine: Engine) -> Statement:
    return engine.db.compile(insert_into(engine.tables.meta, ("key", "number")))


def test_one_is_found_as_many_are(engine: Engine, named: Statement) -> None:
    with engine.read() as tx:
        together = sorted(tx.rows(named, names=ODD))
        one_by_one = sorted(row for name in ODD for row in tx.rows(named, names=[name]))
        assert together == one_by_one == sorted((name, number) for number, name in enumerate(ODD))
        assert tx.rows(named, names=[]) == tx.rows(named, names=["missing"]) == []


@pytest.mark.parametrize("largest", [0, 2**15, 2**31, 2**60])
def test_one_row_changes_what_many_would(engine: Engine, renumber: Statement, largest: int) -> None:
    rows = [(name, number, largest + number) for number, name in enumerate(ODD)]
    with engine.write() as tx:
        together = sorted(tx.rows(renumber, rows=rows, more=1))
        back = [(name, larger + 1, number - 1) for name, number, larger in rows]
        assert len(tx.rows(renumber, rows=back, more=1)) == len(ODD)
        one_by_one = sorted(row for one in rows for row in tx.rows(renumber, rows=[one], more=1))
    assert together == one_by_one == sorted((name, largest + number + 1) for number, name in enumerate(ODD))


def test_a_guard_is_a_guard_for_one_row_too(engine: Engine, renumber: Statement) -> None:
    with engine.write() as tx:
        assert tx.rows(renumber, rows=[("plain", 7, 8)], more=0) == []


def test_a_column_that_few_rows_have_a_value_in_is_written_with_them(engine: Engine) -> None:
    q = engine.tables.queues
    names = ("name", "max_workers", "rate_milli", "burst", "configured_by")
    insert = engine.db.compile(insert_into(q, names, paused=0))
    rows: list[Any] = [(f"q{at:02}", None, None, None, None) for at in range(12)]
    rows[0], rows[7] = ("q00", None, None, 3, None), ("q07", 7, None, None, None)
    rows[11] = ("q11", None, None, None, "x")
    with engine.write() as tx:
        tx.many(insert, rows)
        found = tx.rows(engine.db.compile(q.select(*(getattr(q, name) for name in names)).order_by(q.name)))
    assert found == rows


def test_about_one_no_table_is_made_of_a_list(engine: Engine) -> None:
    leases, outcomes = engine.leases, engine.outcomes
    for statement in (leases._take, leases._take_waiting, leases._load, outcomes._succeed, engine.lanes._glance):
        assert "json" in statement.sql
        assert statement.single is not None
        assert "json" not in statement.single.sql


def test_a_statement_that_names_its_list_twice_or_has_two_is_said_with_lists(engine: Engine, flow: Flow) -> None:
    views: Any = engine.views
    run = flow.start(plan(step("a"), step("b")))
    assert views._steps.single is None
    with engine.read() as tx:
        page = views.steps(tx, run, status="ready")
    assert [one.id for one in page] == ["a", "b"]


@pytest.mark.parametrize(
    ("markers", "bound"),
    [
        ([Marker("now")], (3,)),
        ([Marker("now"), Marker("list", column=VALUE)], (3, (7, "x"))),
        ([Marker("list", column=1), Marker("now"), Marker("list", column=0), Marker("now")], ("x", 3, 7, 3)),
        ([Marker("list", str, 0), Marker("none", str)], ("7", None)),
    ],
)
def test_of_the_only_row_is_bound_what_the_statement_names_in_its_order(
    markers: list[Marker], bound: tuple[Any, ...]
) -> None:
    assert picked_of_one(markers, "list")({"now": 3, "none": None, "list": [(7, "x")]}) == bound


def test_where_nothing_of_the_only_value_is_bound_it_need_not_be_a_row() -> None:
    assert picked_of_one([Marker("now")], "list")({"now": 3, "list": [7]}) == (3,)
