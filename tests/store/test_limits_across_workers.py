"""Limits of a queue and the engine's clock, with several workers and clocks that are set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowkit.clock import SECOND
from flowkit.model.limits import RateLimit
from flowkit.model.step import LeasedStep
from flowkit.scheduler.search import Demand
from flowkit.store.check import check
from flowkit.store.engine import Engine
from flowkit.store.tally import Tally
from tests.places import Place
from tests.store.clock import START, FakeClock
from tests.store.flow import LEASE_SECONDS, Flow, again, step, success
from tests.store.story import attempts_of, column_of, guarded, limit, second_host, seconds_until, steps_of


@pytest.fixture(autouse=True)
def sound(engine: Engine) -> Iterator[None]:
    with guarded(engine):
        yield


def pages(flow: Flow, count: int) -> str:
    return flow.start(*[step(f"page[{n}]") for n in range(count)])


def test_a_queues_limit_holds_across_processes(flow: Flow, other: Flow) -> None:
    limits = limit(flow, max_workers=3)
    pages(flow, 10)

    first, second = flow.lease(2), other.lease(64)
    assert (len(first), len(second), flow.lease()) == (2, 1, [])
    flow.settle(first[0], success())
    assert len(other.lease()) == 1

    with flow.engine.read() as tx:
        assert check(tx, limits=limits) == []


def test_an_expired_lease_holds_its_slot_until_it_is_taken_back(flow: Flow, other: Flow) -> None:
    limit(flow, max_workers=1)
    run = pages(flow, 2)
    flow.lease(worker="ann")

    flow.clock.advance(LEASE_SECONDS - 0.01)
    assert other.lease(worker="bob") == []
    flow.clock.advance(2)
    assert [leased.id for leased in other.lease(worker="bob")] == ["page[1]"]
    assert attempts_of(flow, run, "page[0]") == [(0, 1, "lost")]


def test_a_canceled_attempt_keeps_its_slot_until_it_ends(flow: Flow) -> None:
    limit(flow, max_workers=1)
    canceled = pages(flow, 1)
    leased = flow.lease_one()
    flow.cancel(canceled)
    pages(flow, 1)

    assert flow.lease() == []
    flow.settle(leased, success())
    assert len(flow.lease()) == 1


def test_a_lowered_limit_stops_new_leases_and_no_attempt(flow: Flow) -> None:
    run = pages(flow, 5)
    leased = flow.lease(4)
    limit(flow, max_workers=3)

    assert flow.lease() == []
    flow.settle(leased[0], success())
    assert flow.lease() == []
    flow.settle(leased[1], success())
    assert len(flow.lease()) == 1
    assert list(steps_of(flow, run).values()).count("running") == 3


def test_a_paused_queue_starts_nothing_and_still_settles(flow: Flow, other: Flow) -> None:
    run = pages(flow, 2)
    leased = flow.lease(1)[0]
    with flow.engine.write() as tx:
        flow.engine.queues.pause(tx, "default", paused=True)

    assert other.lease() == []
    flow.settle(leased, success())
    assert steps_of(flow, run) == {"page[0]": "succeeded", "page[1]": "ready"}

    with flow.engine.write() as tx:
        flow.engine.queues.pause(tx, "default", paused=False)
    assert len(other.lease()) == 1


def test_a_token_bucket_is_shared_by_all_workers(flow: Flow, other: Flow) -> None:
    limits = limit(flow, rate=RateLimit(2, burst=3))
    pages(flow, 20)

    assert (len(flow.lease(2)), len(other.lease())) == (2, 1)
    flow.clock.advance(0.4)
    assert flow.lease() == []
    flow.clock.advance(0.1)
    assert (len(other.lease()), len(flow.lease())) == (1, 0)
    flow.clock.advance(3600)
    assert len(flow.lease()) == 3

    with flow.engine.read() as tx:
        assert check(tx, limits=limits) == []


def test_no_token_is_spent_where_nothing_is_leased(flow: Flow) -> None:
    limit(flow, rate=RateLimit(1, burst=2))
    flow.turn()
    pages(flow, 2)

    assert len(flow.lease()) == 2


def test_a_clock_that_is_set_back_mints_no_token_and_holds_none_back(flow: Flow) -> None:
    limit(flow, rate=RateLimit(1, burst=2))
    pages(flow, 20)
    assert len(flow.lease()) == 2

    flow.clock.set(START - 3600 * SECOND)
    assert flow.lease() == []
    flow.clock.advance(1)
    assert len(flow.lease()) == 1
    flow.clock.set(START)
    assert len(flow.lease()) == 2


def test_after_a_step_back_of_the_clock_leases_and_delays_last_as_long_as_they_were_meant_to(flow: Flow) -> None:
    run = flow.start(step("leased"), step("delayed"))
    _, second = flow.lease()
    flow.settle(second, again(seconds=10))

    flow.clock.set(START - 3600 * SECOND)
    turned = flow.turn(slots=0, worker="bob")

    assert [event.name for event in turned.events] == ["clock_stepped_back"]
    assert seconds_until(flow, column_of(flow, run, "leased", "expires_at")) == LEASE_SECONDS
    flow.clock.advance(9)
    assert flow.lease(worker="bob") == []
    flow.clock.advance(1)
    assert [leased.id for leased in flow.lease(worker="bob")] == ["delayed"]
    flow.clock.advance(LEASE_SECONDS - 10)
    flow.turn(slots=0, worker="bob")
    assert attempts_of(flow, run, "leased") == [(0, 1, "lost")]


def test_a_delay_lasts_as_long_as_it_was_meant_to_though_no_worker_saw_the_clock_that_was_set_back(flow: Flow) -> None:
    flow.start(step("later", delay=15 * SECOND))
    flow.clock.set(START - 3600 * SECOND)

    assert flow.lease() == []
    flow.clock.advance(15)

    assert [leased.id for leased in flow.lease()] == ["later"]


def extend(flow: Flow, leased: LeasedStep) -> None:
    with flow.engine.write() as tx:
        flow.engine.leases.extend(tx, [leased], LEASE_SECONDS * SECOND, tx.now())


def looks_due(flow: Flow, worker: str) -> bool:
    return flow.cycle(worker).look(Demand(1, ["work"]))[0]


def test_an_idle_worker_notices_that_its_clock_was_set_back_and_sees_to_it_once(flow: Flow) -> None:
    run = flow.start(step("a"))
    flow.turn(slots=0, worker="bob")
    flow.lease_one(worker="ann")
    assert not looks_due(flow, "bob")
    flow.clock.set(START - 3600 * SECOND)

    assert looks_due(flow, "bob")
    flow.turn(worker="bob")
    assert seconds_until(flow, column_of(flow, run, "a", "expires_at")) == LEASE_SECONDS
    assert not looks_due(flow, "bob")


def test_a_worker_that_stood_still_while_the_clock_was_set_forward_and_back_notices_it_too(flow: Flow) -> None:
    run = flow.start(step("a"))
    flow.turn(slots=0, worker="bob")
    flow.clock.set(START + 3600 * SECOND)
    flow.lease_one(worker="ann")
    flow.clock.advance(LEASE_SECONDS - 1)
    flow.clock.set(START + SECOND)

    assert looks_due(flow, "bob")
    flow.turn(slots=0, worker="bob")
    assert seconds_until(flow, column_of(flow, run, "a", "expires_at")) == LEASE_SECONDS


def test_a_worker_that_began_after_the_clock_was_set_back_notices_it_by_the_leases_of_others(flow: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one(worker="ann")
    for _ in range(5):
        flow.clock.advance(LEASE_SECONDS - 1)
        extend(flow, leased)
    # The clock goes back less far than the time since the last pass, whose mark therefore is not ahead of it.
    flow.clock.set(START + SECOND)

    assert not looks_due(flow, "bob")
    flow.clock.advance(LEASE_SECONDS + 0.1)
    assert looks_due(flow, "bob")
    assert [event.name for event in flow.turn(slots=0, worker="bob").events] == ["clock_stepped_back"]
    assert seconds_until(flow, column_of(flow, run, "a", "expires_at")) == LEASE_SECONDS


def test_a_worker_that_began_after_the_clock_was_set_back_looks_at_delays_at_once(flow: Flow) -> None:
    flow.start(step("later", delay=15 * SECOND))
    flow.clock.set(START - 3600 * SECOND)

    assert looks_due(flow, "bob")
    flow.turn(slots=0, worker="bob")
    assert flow.cycle("bob").look(Demand(1, ["work"]))[1] == flow.clock.now() + 15 * SECOND


def test_a_pass_that_was_rolled_back_has_seen_to_no_clock(flow: Flow) -> None:
    flow.start(step("a"))
    flow.turn(slots=0, worker="bob")
    flow.lease_one(worker="ann")
    flow.clock.set(START - 3600 * SECOND)
    with pytest.raises(ZeroDivisionError), flow.engine.write() as tx:
        flow.cycle("bob").join(tx, Demand(0, ["work"]), Tally(tx.now()))
        raise ZeroDivisionError

    assert looks_due(flow, "bob")


def test_a_lease_of_a_worker_that_lives_is_let_alone_though_its_clock_is_ahead(flow: Flow, place: Place) -> None:
    ahead = second_host(place, FakeClock(START + 3600 * SECOND))
    run = ahead.start(step("a"))
    leased = ahead.lease_one(worker="ann")
    for _ in range(10):
        assert not looks_due(flow, "bob")
        flow.clock.advance(LEASE_SECONDS / 3)
        ahead.clock.advance(LEASE_SECONDS / 3)
        extend(ahead, leased)

    ahead.settle(leased, success())
    assert steps_of(flow, run) == {"a": "succeeded"}
    ahead.engine.db.close()


def test_a_worker_whose_clock_is_behind_makes_no_pass_for_a_mark_that_is_ahead(flow: Flow, place: Place) -> None:
    behind = second_host(place, FakeClock(START - 3600 * SECOND))
    behind.turn(slots=0, worker="bob")
    flow.start(step("a"))
    flow.lease_one(worker="ann")

    assert not looks_due(behind, "bob")
    behind.engine.db.close()


def test_a_lease_that_a_start_took_lasts_no_longer_by_a_clock_that_was_set_back_before_any_pass(flow: Flow) -> None:
    run = flow.start(step("a"))
    with flow.engine.write() as tx:
        tally = Tally(tx.now())
        assert flow.cycle("ann").join(tx, Demand(1, ["work"]), tally).grant
        flow.engine.history.close(tx, tally)
    flow.clock.set(START - 3600 * SECOND)

    flow.turn(slots=0, worker="bob")

    assert seconds_until(flow, column_of(flow, run, "a", "expires_at")) == LEASE_SECONDS


def test_a_lease_can_be_extended_and_settled_under_a_clock_that_was_set_back(flow: Flow) -> None:
    run = flow.start(step("a"))
    leased = flow.lease_one()
    flow.clock.set(START - 3600 * SECOND)

    extend(flow, leased)

    assert seconds_until(flow, column_of(flow, run, "a", "expires_at")) == LEASE_SECONDS
    flow.settle(leased, success())
    assert steps_of(flow, run) == {"a": "succeeded"}


def test_a_clock_that_is_slewed_back_a_little_changes_nothing(flow: Flow) -> None:
    run = flow.start(step("a"))
    flow.lease_one()
    flow.clock.set(START - 4 * SECOND)

    assert flow.turn(slots=0, worker="bob").events == []
    assert seconds_until(flow, column_of(flow, run, "a", "expires_at")) == LEASE_SECONDS + 4


def test_a_clock_that_jumps_forward_may_lease_early_but_commits_once(flow: Flow) -> None:
    run = flow.start(step("a"))
    slow = flow.lease_one(worker="slow")
    flow.clock.set(START + 86_400 * SECOND)
    flow.turn(slots=0, worker="quick")
    flow.clock.advance(1)
    quick = flow.lease_one(worker="quick")

    flow.settle(slow, success("slow"))
    flow.settle(quick, success("quick"))

    assert attempts_of(flow, run, "a") == [(0, 1, "lost")]
    assert steps_of(flow, run) == {"a": "succeeded"}
