"""All hosts go by the server's time, and what starts is never told to have begun before what made room for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from flowkit.clock import SECOND, FollowingClock, SystemClock
from flowkit.model.limits import QueueConfig, RateLimit
from flowkit.store.check import check
from flowkit.store.engine import Engine
from flowkit.store.postgres_connection import Connection
from flowkit.store.statements import Asked
from tests.places import Place
from tests.store.flow import Flow, step, success

LIMITS = {"single": QueueConfig(max_workers=1), "bucket": QueueConfig(rate_limit=RateLimit(1000, burst=1))}


class HeldClock(FollowingClock):
    """A following clock on a host whose own clock a test moves."""

    elapsed = 0.0

    def monotonic(self) -> float:
        """Return the host's clock."""
        return self.elapsed

    def hear(self, told: float, took: float) -> float:
        """Get an answer that is under way for so long; returns what is shown then."""

        def answer() -> int:
            self.elapsed += took
            return round(told * SECOND)

        self.ask(answer)
        return self.now() / SECOND


def test_the_servers_time_goes_on_between_its_answers() -> None:
    clock = HeldClock()
    assert clock.hear(1000, took=0) == 1000
    clock.elapsed += 5
    assert clock.now() == 1005 * SECOND


def test_an_answer_that_was_long_under_way_does_not_set_the_time_back() -> None:
    clock = HeldClock()
    assert clock.hear(1000, took=0.5) == 1000, "the first answer is all that is known"
    assert clock.hear(1001, took=0) == 1001, "a quick one is better: the other was late by half a second"
    assert clock.hear(1001, took=4) == 1005


@pytest.mark.parametrize("told", [900, 1100])
def test_a_server_whose_clock_was_set_is_followed(told: float) -> None:
    clock = HeldClock()
    clock.hear(1000, took=0)
    assert clock.hear(told, took=0.01) == told


@pytest.fixture
def hosts(place: Place) -> Iterator[tuple[Flow, Flow]]:
    """Two hosts that go by the time of the server."""
    engines = [place.store().open(SystemClock()) for _ in range(2)]
    with engines[0].write() as tx:
        for queue, config in LIMITS.items():
            engines[0].queues.configure(tx, queue, config, by="test", now=tx.now())
    first, second = (Flow(engine, engine.db.clock) for engine in engines)  # type: ignore[arg-type]
    second._tokens = iter(range(1_000_000, 2_000_000))  # type: ignore[assignment]
    yield first, second
    for engine in engines:
        engine.db.close()


def hold_the_next_answer(engine: Engine, call: Callable[[], Any]) -> None:
    """Let the time with which the next transaction begins be under way while *call* is made."""
    connector: Any = engine.db._connector
    begin = connector.begin

    def begin_slowly(raw: Any, first: Sequence[Asked] = ()) -> Any:
        def held(*statements: str, first: Sequence[Asked] = ()) -> Any:
            told = Connection.begin(raw, *statements, first=first)
            call()
            return told

        connector.begin, raw.begin = begin, held
        # What the host knew before is older still, so it takes the answer for the best that there is.
        told, at = connector.clock._told
        connector.clock._told = (told - 60 * SECOND, at)
        rows = begin(raw, first)
        del raw.begin
        return rows

    connector.begin = begin_slowly


@pytest.mark.parametrize("queue", list(LIMITS))
def test_what_waited_since_before_it_got_room_began_after_it(hosts: tuple[Flow, Flow], queue: str) -> None:
    first, second = hosts
    first.start(*[step(f"{queue}[{n}]", queue=queue) for n in range(6)])

    for _ in range(3):
        hold_the_next_answer(second.engine, lambda: first.do(success(1), worker="first"))
        leased = second.lease(1, worker="second")
        if leased:
            second.settle(leased[0], success(1))

    with first.engine.read() as tx:
        assert check(tx, limits=LIMITS) == []
        assert tx.script("SELECT COUNT(*) FROM results")[0][0] >= 3
