"""What waits for transactions of others: a new lane for those before it, a pass briefly, an extension for nobody."""

from __future__ import annotations

import threading

import psycopg

from flowkit.clock import SECOND
from flowkit.store.engine import Engine
from flowkit.store.tally import Tally
from tests.places import Place
from tests.store.flow import LEASE_SECONDS, Flow, step
from tests.stories.telling import eventually

WAITING = """SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


def somebody_waits(place: Place) -> bool:
    """Say whether somebody waits for a lock that is no row's."""
    with psycopg.connect(place.url) as connection:
        return connection.execute(WAITING).fetchone() is not None


def test_a_lane_is_numbered_once_those_before_it_are_there(flow: Flow, other: Flow, place: Place) -> None:
    found: dict[tuple[str, str], int] = {}

    def ask(engine: Engine) -> None:
        with engine.write() as tx:
            found.update(engine.lanes.ids(tx, [("queue", "second")]))

    with other.engine.write() as tx:
        tx.many(other.engine.lanes._insert_in_turn, [("queue", "first")])
        # What is not asked for an answer goes with the next statement.
        tx.script("SELECT 1")
        asking = threading.Thread(target=ask, args=(flow.engine,))
        asking.start()
        eventually(lambda: somebody_waits(place))
        assert found == {}
    asking.join(30)
    with flow.engine.write() as tx:
        found |= flow.engine.lanes.ids(tx, [("queue", "first")])
        serving = {lane.kind for lane in flow.engine.lanes.serving(tx, ["first", "second"])}
    assert found["queue", "first"] < found["queue", "second"]
    assert serving == {"first", "second"}


def test_a_pass_that_waits_for_a_run_waits_briefly(flow: Flow) -> None:
    flow.start(step("a"))
    flow.lease_one()
    flow.clock.advance(LEASE_SECONDS + 1)
    with flow.engine.write() as tx:
        flow.engine.reclaim.expired(tx, Tally(tx.now()), waits=True)
        # Of this transaction alone: whoever is given the connection next is as patient as ever.
        assert tx.script("SELECT current_setting('lock_timeout')") == [("200ms",)]
    with flow.engine.write() as tx:
        assert tx.script("SELECT current_setting('lock_timeout')") == [("10s",)]


def test_an_extension_waits_for_nobody_and_a_step_that_others_have_locked_is_not_lost(flow: Flow, other: Flow) -> None:
    flow.start(step("a"))
    leased = flow.lease_one()
    with other.engine.write() as theirs:
        theirs.script("SELECT key FROM steps FOR UPDATE")
        with flow.engine.write() as mine:
            held = flow.engine.leases.extend(mine, [leased], LEASE_SECONDS * SECOND, mine.now())
    assert held == {(leased.key, leased.lease.epoch): "running"}
