"""Statements that are sent in one trip: what goes in comes out, what is refused harms nothing that was sent before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from flowkit.store import postgres_wire
from flowkit.store.postgres_wire import Answer, Wire
from tests.postgres import PostgresPlace
from tests.stories.telling import eventually


@pytest.fixture
def raw(place: PostgresPlace) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(place.url, autocommit=True) as connection:
        connection.execute("CREATE TEMPORARY TABLE kept (number bigint, text text, bytes bytea, small integer)")
        yield connection


@pytest.fixture
def wire(raw: psycopg.Connection[Any]) -> Wire:
    return Wire(raw)


def ask(wire: Wire, sql: str, *parameters: Any) -> list[Any]:
    answer = wire.put(sql, parameters)
    wire.hear()
    return answer.fetchall()


def say(wire: Wire, sql: str, *parameters: Any) -> Answer:
    answer = wire.put(sql, parameters)
    wire.send()
    return answer


def prepared(raw: psycopg.Connection[Any]) -> int:
    row = raw.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    "row",
    [
        (1, "a", b"\x00\xff", 2),
        (-(2**63), "", b"", None),
        (2**63 - 1, "50 % of '\N{SNOWMAN}' \\ \"x\"", bytes(range(256)), -1),
        (None, None, None, None),
    ],
)
def test_values_come_back_as_they_went_in(wire: Wire, row: tuple[Any, ...]) -> None:
    ask(wire, "INSERT INTO kept VALUES (%s, %s, %s, %s)", *row)
    assert ask(wire, "SELECT number, text, bytes, small FROM kept WHERE text IS DISTINCT FROM '100%%'") == [row]


def test_each_statement_of_a_trip_is_answered_in_order_and_sees_those_before_it(wire: Wire) -> None:
    added = wire.put("INSERT INTO kept (number) SELECT n FROM unnest(%s::bigint[]) AS n", ([1, 2, 3],))
    counted = wire.put("SELECT count(*) FROM kept")
    changed = wire.put("UPDATE kept SET text = %s WHERE number > %s", ("x", 1))
    found = wire.put("SELECT number FROM kept WHERE text = %s ORDER BY number", ("x",))
    wire.hear()
    assert (added.rowcount, changed.rowcount, changed.statusmessage) == (3, 2, "UPDATE 2")
    assert (counted.fetchone(), found.fetchall(), changed.fetchall()) == ((3,), [(2,), (3,)], [])


def test_what_is_said_is_answered_once_it_is_heard_with_what_is_said_last(wire: Wire) -> None:
    said = [say(wire, "INSERT INTO kept (number) VALUES (%s)", number) for number in range(3)]
    assert wire.unheard >= 3
    assert [answer.result for answer in said] == [None] * 3
    assert ask(wire, "SELECT count(*) FROM kept") == [(3,)]
    assert wire.unheard == 0
    assert [answer.rowcount for answer in said] == [1, 1, 1]


def test_what_is_said_and_refused_is_told_to_who_hears(wire: Wire) -> None:
    for sql in ("BEGIN", "INSERT INTO kept VALUES (1)", "SELECT 1 / 0", "SELECT 'never prepared'", "COMMIT"):
        say(wire, sql)
    with pytest.raises(psycopg.errors.DivisionByZero):
        wire.hear()
    assert ask(wire, "SELECT count(*) FROM kept") == [(0,)]
    assert ask(wire, "SELECT 'never prepared'") == [("never prepared",)]


def test_to_the_server_a_client_that_says_no_more_is_idle_in_its_transaction(
    place: PostgresPlace, raw: psycopg.Connection[Any], wire: Wire
) -> None:
    # Else the locks of a host that is cut off just then would be held for as long as its connection seems to be there.
    say(wire, "BEGIN")
    say(wire, "INSERT INTO kept VALUES (1)")
    state = "SELECT state FROM pg_stat_activity WHERE pid = %s"
    with psycopg.connect(place.url, autocommit=True) as other:
        eventually(lambda: other.execute(state, (raw.info.backend_pid,)).fetchone() == ("idle in transaction",))
    wire.hear()


def test_of_what_is_refused_the_first_error_is_raised_and_the_connection_is_as_good_as_before(wire: Wire) -> None:
    for sql in ("INSERT INTO kept VALUES (1)", "SELECT 1 / 0", "SELECT nothing"):
        wire.put(sql)
    with pytest.raises(psycopg.errors.DivisionByZero):
        wire.hear()
    assert ask(wire, "SELECT count(*) FROM kept") == [(0,)]


def test_a_statement_that_could_not_be_prepared_is_once_it_can_be(wire: Wire) -> None:
    for _ in range(2):
        wire.put("SELECT * FROM later")
        wire.put("SELECT 2")
        with pytest.raises(psycopg.errors.UndefinedTable):
            wire.hear()
    ask(wire, "CREATE TEMPORARY TABLE later AS SELECT 1")
    assert ask(wire, "SELECT * FROM later") == [(1,)]
    assert ask(wire, "SELECT 2") == [(2,)]


def test_what_cannot_be_sent_is_refused_at_once_and_what_was_put_down_before_stays_so(wire: Wire) -> None:
    insert = "INSERT INTO kept (text) VALUES (%s)"
    for before in ([], ["good"]):
        for text in before:
            wire.put(insert, (text,))
        with pytest.raises(psycopg.DataError):
            wire.put(insert, ("no\0text",))
        assert wire.unheard >= len(before)
        assert ask(wire, "SELECT text FROM kept") == [(text,) for text in before]


def test_the_statements_that_are_kept_prepared_do_not_add_up(
    raw: psycopg.Connection[Any], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_wire, "PREPARED", 5)
    for _ in range(2):
        for number in range(8):
            assert ask(wire, f"SELECT {number}") == [(number,)]
    assert prepared(raw) <= 5 + 1  # and what counts them


def test_more_may_be_said_than_lies_ready_on_its_way_before_anybody_hears(wire: Wire) -> None:
    text = "x" * 2_000_000
    said = [say(wire, "SELECT %s::text", text) for _ in range(8)]
    wire.hear()
    assert all(answer.fetchall() == [(text,)] for answer in said)


def test_a_trip_may_be_larger_than_what_lies_ready_on_its_way_in_both_directions(wire: Wire) -> None:
    text = "x" * 2_000_000
    answers = [wire.put("SELECT %s::text", (text,)) for _ in range(8)]
    wire.hear()
    assert all(answer.fetchall() == [(text,)] for answer in answers)


def test_whoever_is_interrupted_while_answers_are_under_way_leaves_a_closed_connection(
    raw: psycopg.Connection[Any], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(wire._socket, "select", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask(wire, "SELECT pg_sleep(0.1)")
    assert raw.closed


def test_a_connection_that_is_ended_meanwhile_is_told_of_as_lost(
    place: PostgresPlace, raw: psycopg.Connection[Any], wire: Wire
) -> None:
    with psycopg.connect(place.url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (raw.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        ask(wire, "SELECT 1")
    assert raw.closed


def test_json_is_no_special_case(wire: Wire) -> None:
    rows = ask(wire, "SELECT (e->>0)::bigint, e->>1 FROM json_array_elements(%s::json) AS e", json.dumps([[1, "%s"]]))
    assert rows == [(1, "%s")]
