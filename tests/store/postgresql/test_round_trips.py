"""How often a worker and the server speak to each other: what can be said together is."""

from __future__ import annotations

import pytest

from flowkit import PostgresStore, RunBuilder, RunStatus, Runtime, StepContext, executor, package
from flowkit.model.step import Settlement
from flowkit.store.postgres_wire import Wire
from tests.places import Place
from tests.store.flow import Flow, again, plan, step, success

WORK = ["work"]


@executor("trips/nothing")
def nothing(step: StepContext) -> None:
    """Do nothing."""


@package("trips")
def one_step(run: RunBuilder) -> None:
    run.step("only", nothing)


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect of each round trip how many statements went with it."""
    found: list[int] = []
    hear = Wire.hear

    def counted(wire: Wire) -> None:
        found.append(wire.unheard)
        hear(wire)

    monkeypatch.setattr(Wire, "hear", counted)
    return found


def test_a_link_of_a_chain_is_two_round_trips_its_beginning_and_its_commit(flow: Flow, trips: list[int]) -> None:
    flow.start(plan(step("a"), step("b"), step("c"), after={"b": ["a"], "c": ["b"]}))
    (leased,) = flow.turn().leased
    for name in ("b", "c"):
        del trips[:]
        (leased,) = flow.turn([Settlement(leased, success(1), flow.clock.now())], kinds=WORK).leased
        assert (leased.id, len(trips)) == (name, 2)


@pytest.mark.parametrize(("outcomes", "goes_ahead"), [(1, True), (20, False)])
def test_a_pass_of_few_outcomes_has_the_server_run_what_nobody_waits_for_and_one_of_many_sends_it_together(
    flow: Flow, trips: list[int], monkeypatch: pytest.MonkeyPatch, outcomes: int, goes_ahead: bool
) -> None:
    sent: list[None] = []
    flush = Wire._flush
    monkeypatch.setattr(Wire, "_flush", lambda wire: sent.append(None) or flush(wire))
    flow.start(plan(*[step(f"a{n}") for n in range(outcomes)], step("b"), after={"b": ["a0"]}))
    inbox = [Settlement(one, success(1), flow.clock.now()) for one in flow.turn(slots=outcomes).leased]
    del trips[:], sent[:]

    assert [one.id for one in flow.turn(inbox, kinds=WORK).leased] == ["b"]

    assert len(trips) == 2
    assert (len(sent) > 2) is goes_ahead


def test_what_comes_next_is_asked_for_once_more_after_an_outcome_that_may_make_its_own_step_ready(
    flow: Flow, trips: list[int]
) -> None:
    flow.start(step("a"))
    (leased,) = flow.turn().leased
    del trips[:]

    (leased,) = flow.turn([Settlement(leased, again(), flow.clock.now())], kinds=WORK).leased

    assert (leased.id, leased.attempt) == ("a", 2)
    assert len(trips) > 2


def test_a_pass_that_finds_nothing_is_two_round_trips_however_long_it_found_something(
    flow: Flow, trips: list[int]
) -> None:
    flow.start(step("a"))
    flow.turn()
    del trips[:]

    assert flow.turn(kinds=WORK).leased == []

    assert len(trips) == 2


def test_a_run_is_started_in_two_round_trips_the_first_of_which_brings_its_key(place: Place, trips: list[int]) -> None:
    with Runtime(PostgresStore(place.url), modules=[__name__]) as rt:
        rt.start_run(one_step)
        del trips[:]

        started = rt.start_run(one_step)

        assert len(trips) == 2
        assert rt.run(one_step, run_id="named").id == "named"
        assert rt.drain().succeeded == 2
        assert started.wait().status is RunStatus.SUCCEEDED
