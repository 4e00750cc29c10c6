"""The explanation of a step is the true reason why it is not running, and it starts when it was said that it could."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowkit.clock import SECOND, micros
from flowkit.errors import RunNotFound, StepNotFound
from flowkit.model.limits import QueueConfig, RateLimit
from flowkit.model.plan import Edge, Plan
from flowkit.model.retry import Retry
from flowkit.scheduler.explain import Explanation, explain
from tests.places import Lend, Place, open_engine
from tests.store.clock import START, FakeClock
from tests.store.flow import LEASE_SECONDS, Flow, again, failure, plan, step

SERVED = frozenset({"work"})


def why(flow: Flow, step_id: str, run: str = "run-1", served: Collection[str] = SERVED) -> Explanation:
    with flow.engine.read() as tx:
        return explain(flow.engine, tx, run, step_id, served)


def configure(flow: Flow, config: QueueConfig, queue: str = "default") -> None:
    with flow.engine.write() as tx:
        flow.engine.queues.configure(tx, queue, config, by="test", now=tx.now())


def pause(flow: Flow, queue: str = "default") -> None:
    with flow.engine.write() as tx:
        flow.engine.queues.pause(tx, queue, paused=True)


def leases(flow: Flow) -> list[str]:
    return [leased.id for leased in flow.lease(kinds=SERVED)]


def test_a_ready_step_that_nothing_holds_could_run_now_and_does(flow: Flow) -> None:
    flow.start(step("a"))
    told = why(flow, "a")
    assert (told.reason, told.could_run_now, told.earliest_at) == ("could_run", True, START)
    assert told.text == "it could run now: it is the next in queue 'default' that a free worker takes"
    assert leases(flow) == ["a"]


def test_a_step_behind_others_could_run_now_but_a_worker_with_one_slot_takes_them_first(flow: Flow) -> None:
    flow.start(step("old"), step("urgent", priority=-1), step("late", priority=1))
    told = why(flow, "late")
    assert (told.reason, told.could_run_now, told.earliest_at) == ("behind", True, START)
    assert told.held_by == ("run-1/urgent", "run-1/old")
    assert "2 other steps of queue 'default' come first" in told.text
    assert [flow.lease_one().id for _ in range(3)] == ["urgent", "old", "late"]


def test_steps_that_no_worker_serves_are_not_in_front_of_anybody(flow: Flow) -> None:
    flow.start(step("foreign", kind="foreign"), step("a"))
    assert why(flow, "a").reason == "could_run"


def test_a_pending_step_waits_for_the_steps_it_names(flow: Flow) -> None:
    flow.start(plan(step("a"), step("b"), step("c"), after={"c": ["a", "b"]}))
    told = why(flow, "c")
    assert (told.reason, told.could_run_now, told.earliest_at) == ("dependencies", False, None)
    assert told.waits_for == ("a", "b")
    assert told.text == "it waits for 2 steps: 'a', 'b'"
    flow.do()
    assert why(flow, "c").waits_for == ("b",)


def test_a_gate_is_looked_through_and_of_many_steps_the_first_twenty_are_named(flow: Flow) -> None:
    pages, waiters = [step(f"page[{n}]") for n in range(30)], [step("index"), step("cover")]
    gate = 32
    edges = [Edge(gate, n) for n in range(30)] + [Edge(30, gate), Edge(31, gate, required=False), Edge(31, 0)]
    flow.start(Plan((*pages, *waiters), ("pages",), tuple(edges)))
    for waiter in ("index", "cover"):
        told = why(flow, waiter)
        assert told.waits_for == tuple(f"page[{n}]" for n in range(20))
        assert told.text.startswith("it waits for 30 steps: 'page[0]', 'page[1]', ")
        assert told.text.endswith("'page[19]' and 10 more")
    flow.do()
    assert why(flow, "index").text.startswith("it waits for 29 steps: 'page[1]'")


def test_a_delayed_step_starts_when_it_was_said_and_no_sooner(flow: Flow) -> None:
    flow.start(step("a", delay=micros(5)))
    told = why(flow, "a")
    assert (told.reason, told.earliest_at) == ("delayed", START + 5 * SECOND)
    assert told.text == "it is delayed until 2023-11-14 22:13:25.000 UTC"
    flow.clock.advance(4.999)
    assert leases(flow) == []
    flow.clock.set(told.earliest_at or 0)
    assert why(flow, "a").could_run_now
    assert leases(flow) == ["a"]


def test_a_step_that_is_to_be_retried_says_after_what_and_when(flow: Flow) -> None:
    flow.start(step("a", retry=Retry(3, initial=8)))
    flow.do(again("busy", seconds=8))
    told = why(flow, "a")
    assert (told.reason, told.earliest_at) == ("retry", START + 8 * SECOND)
    assert told.text == "attempt 2 after busy is due at 2023-11-14 22:13:28.000 UTC"
    flow.clock.set(told.earliest_at or 0)
    assert leases(flow) == ["a"]


def test_a_paused_queue_holds_its_steps_for_no_stated_time_whatever_else_does(flow: Flow) -> None:
    flow.start(step("a"), step("b", delay=micros(5)))
    pause(flow)
    assert (why(flow, "a").reason, why(flow, "a").earliest_at) == ("queue_paused", None)
    told = why(flow, "b")
    assert (told.reason, told.earliest_at) == ("queue_paused", None)
    assert told.text == "queue 'default' is paused; and it is delayed until 2023-11-14 22:13:25.000 UTC"
    assert leases(flow) == []


def test_a_full_queue_names_who_holds_its_places(flow: Flow) -> None:
    configure(flow, QueueConfig(max_workers=1))
    flow.start(step("a"), step("b"), step("c"))
    assert why(flow, "b").reason == "queue_full"
    leased = flow.lease(kinds=SERVED)
    told = why(flow, "c")
    assert (told.reason, told.earliest_at) == ("queue_full", None)
    assert told.text == "queue 'default' runs at most 1 at once: 1 run and 1 come first"
    assert told.held_by == ("run-1/a", "run-1/b")
    assert leases(flow) == []
    flow.settle(leased[0], failure())
    assert why(flow, "b").reason == "could_run"
    assert leases(flow) == ["b"]


def test_an_empty_bucket_says_when_the_turn_of_each_step_comes(flow: Flow) -> None:
    configure(flow, QueueConfig(rate_limit=RateLimit(0.5, burst=2)))
    flow.start(*(step(name) for name in "abcd"))
    assert [why(flow, name).could_run_now for name in "abcd"] == [True, True, False, False]
    told = {name: why(flow, name) for name in "cd"}
    assert [told[name].reason for name in "cd"] == ["rate_limited", "rate_limited"]
    assert [told[name].earliest_at for name in "cd"] == [START + 2 * SECOND, START + 4 * SECOND]
    assert leases(flow) == ["a", "b"]
    for name in "cd":
        assert why(flow, name).earliest_at == told[name].earliest_at
        flow.clock.set((told[name].earliest_at or 0) - 1)
        assert leases(flow) == []
        flow.clock.set(told[name].earliest_at or 0)
        assert leases(flow) == [name]


def test_a_delayed_step_waits_for_the_bucket_too_where_that_takes_longer(flow: Flow) -> None:
    configure(flow, QueueConfig(rate_limit=RateLimit(0.1, burst=1)))
    flow.start(step("a"), step("soon", delay=micros(4)), step("late", delay=micros(40)))
    assert leases(flow) == ["a"]
    told = why(flow, "soon")
    assert (told.reason, told.earliest_at) == ("rate_limited", START + 10 * SECOND)
    assert "and it is delayed until 2023-11-14 22:13:24.000 UTC" in told.text
    assert (why(flow, "late").reason, why(flow, "late").earliest_at) == ("delayed", START + 40 * SECOND)
    flow.clock.set((told.earliest_at or 0) - 1)
    assert leases(flow) == []
    flow.clock.set(told.earliest_at or 0)
    assert leases(flow) == ["soon"]


def test_a_kind_that_no_live_worker_serves_is_the_reason(flow: Flow) -> None:
    flow.start(step("a", kind="ocr"))
    told = why(flow, "a")
    assert (told.reason, told.text, told.earliest_at) == ("unserved", "no live worker serves kind 'ocr'", None)
    assert leases(flow) == []


def test_a_running_step_says_who_runs_it_and_until_when_the_lease_lasts(flow: Flow) -> None:
    flow.start(step("a"))
    flow.lease_one(worker="ann")
    told = why(flow, "a")
    assert (told.reason, told.held_by, told.earliest_at) == ("running", ("ann",), None)
    assert told.text == "worker 'ann' runs attempt 1; its lease lasts until 2023-11-14 22:13:50.000 UTC"
    flow.clock.advance(LEASE_SECONDS)
    assert why(flow, "a").text.endswith("its lease ran out at 2023-11-14 22:13:50.000 UTC and will be taken back")


def test_a_running_step_of_a_canceled_run_was_told_to_stop(flow: Flow) -> None:
    flow.start(step("a"), step("b"))
    flow.lease_one(worker="ann")
    flow.cancel("run-1")
    assert (why(flow, "a").reason, why(flow, "a").held_by) == ("canceling", ("ann",))
    told = why(flow, "b")
    assert told.reason == "canceled"
    assert told.text == "it was canceled at 2023-11-14 22:13:20.000 UTC, because its run was"


def test_an_ended_step_says_how_it_ended(flow: Flow) -> None:
    flow.start(plan(step("good"), step("bad"), step("after"), after={"after": ["bad"]}))
    flow.do()
    flow.do(failure("no_page", "there is no page 7"))
    assert why(flow, "good").text == "it succeeded at 2023-11-14 22:13:20.000 UTC"
    told = why(flow, "bad")
    assert told.reason == "failed"
    assert told.text.endswith("after attempt 1 with no_page: there is no page 7")
    told = why(flow, "after")
    assert (told.reason, told.held_by) == ("canceled", ("run-1/bad",))
    assert told.text.endswith("because step 'bad', which it requires, did not succeed")


def test_a_step_that_is_not_there_is_not_explained(flow: Flow) -> None:
    flow.start(step("a"))
    with pytest.raises(RunNotFound):
        why(flow, "a", run="run-9")
    with pytest.raises(StepNotFound, match="did you mean 'a'"):
        why(flow, "a1")


QUEUES, KINDS = ("left", "right"), ("work", "other")
CONFIGS = st.builds(
    QueueConfig,
    max_workers=st.none() | st.integers(1, 4),
    rate_limit=st.none() | st.builds(RateLimit, st.sampled_from([0.5, 3.0]), st.integers(1, 3)),
)
STEPS = st.tuples(st.sampled_from(QUEUES), st.sampled_from(KINDS), st.integers(-1, 1), st.sampled_from([0, 0, 0, 4]))


def explained(flow: Flow, count: int, served: Collection[str]) -> dict[str, Explanation]:
    return {f"s{n}": why(flow, f"s{n}", served=served) for n in range(count)}


def could_run(told: dict[str, Explanation]) -> set[str]:
    return {name for name, explanation in told.items() if explanation.could_run_now}


@contextmanager
def opened(place: Place, clock: FakeClock) -> Iterator[Flow]:
    engine = open_engine(place, clock)
    with closing(engine.db):
        yield Flow(engine, clock)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(STEPS, min_size=1, max_size=10),
    st.fixed_dictionaries(dict.fromkeys(QUEUES, CONFIGS)),
    st.sets(st.sampled_from(QUEUES), max_size=1),
    st.sampled_from([KINDS, ("work",)]),
    st.integers(0, 3),
)
def test_what_could_run_now_is_exactly_what_a_worker_with_free_slots_takes(
    lend: Lend,
    steps: list[tuple[str, str, int, int]],
    configs: dict[str, QueueConfig],
    paused: set[str],
    served: tuple[str, ...],
    before: int,
) -> None:
    clock = FakeClock()
    with lend() as place, opened(place, clock) as flow:
        for queue, config in configs.items():
            configure(flow, config, queue)
        made = [step(f"s{n}", k, queue=q, priority=p, delay=micros(d)) for n, (q, k, p, d) in enumerate(steps)]
        flow.start(Plan(tuple(made)))
        flow.lease(before, kinds=served)
        for queue in paused:
            pause(flow, queue)

        told = explained(flow, len(steps), served)
        assert {leased.id for leased in flow.lease(kinds=served)} == could_run(told)

        later = {name: at for name, one in explained(flow, len(steps), served).items() if (at := one.earliest_at)}
        if later:
            name = min(later, key=lambda name: later[name])
            clock.set(later[name] - 1)
            before_it = explained(flow, len(steps), served)[name]
            clock.set(later[name])
            told = explained(flow, len(steps), served)
            taken = {leased.id for leased in flow.lease(kinds=served)}
            assert taken == could_run(told)
            assert not before_it.could_run_now
            # Who is told the time of a token gets it; one that was delayed may find others in front of it.
            assert name in taken or before_it.reason == "delayed" != told[name].reason
