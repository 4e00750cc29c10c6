"""Which steps come next: priorities within a queue, turns between queues, limits before both."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowkit.model.limits import RateLimit, TokenBucket
from flowkit.scheduler.choose import Line, Turns, choose, limited, merged
from flowkit.store.glances import Candidate
from flowkit.store.queues import StoredQueue

NOW = 1_000_000_000


def line(name: str, *ready_at: int, in_flight: int = 0, **queue: object) -> Line:
    steps = [Candidate(0, at, key) for key, at in enumerate(ready_at)]
    return Line(StoredQueue(name, **queue), in_flight, steps)  # type: ignore[arg-type]


def queues(lines: list[Line], slots: int, turns: Turns | None = None, now: int = NOW) -> list[str]:
    return [name for name, _ in choose(lines, slots, turns or Turns(), now)]


def test_the_queue_whose_head_has_waited_longest_is_served_first() -> None:
    assert queues([line("young", 20), line("old", 10)], 1) == ["old"]


def test_a_backlog_of_old_steps_takes_turns_with_a_step_that_came_just_now() -> None:
    """By age alone a million old steps would go before it."""
    assert queues([line("backlog", *range(100)), line("fresh", NOW, NOW)], 4).count("fresh") == 2


def test_turns_go_on_from_one_cycle_to_the_next() -> None:
    turns = Turns()
    lines = [line("a", 1, 2, 3), line("b", 1, 2, 3)]
    served = [queues(lines, 1, turns, NOW + cycle)[0] for cycle in range(4)]
    assert sorted(served[:2]) == ["a", "b"]
    assert served[2:] == served[:2]


def test_within_a_queue_the_smaller_priority_goes_first_whatever_its_kind_and_then_who_is_ready_longest() -> None:
    one_kind = [Candidate(0, 50, 1), Candidate(5, 10, 2)]
    another = [Candidate(-3, 90, 3), Candidate(0, 40, 4)]
    assert [candidate.key for candidate in merged([one_kind, another])] == [3, 4, 1, 2]


def test_a_paused_queue_gives_nothing() -> None:
    assert queues([line("held", 1, paused=True), line("free", 2)], 5) == ["free"]


def test_what_runs_already_counts_against_a_queues_limit() -> None:
    assert queues([line("small", 1, 2, 3, max_workers=3, in_flight=2)], 5) == ["small"]
    assert queues([line("full", 1, max_workers=2, in_flight=2)], 5) == []


def test_a_limit_lowered_below_what_runs_gives_nothing_rather_than_less_than_nothing() -> None:
    assert queues([line("lowered", 1, max_workers=1, in_flight=7)], 5) == []


def test_a_bucket_gives_as_many_as_it_has_whole_tokens_and_says_when_the_next_comes() -> None:
    bucket = TokenBucket(RateLimit(1, burst=2), 1_500_000_000, NOW)
    assert queues([line("metered", 1, 2, 3, bucket=bucket)], 5) == ["metered"]
    empty = line("metered", 1, bucket=bucket.take(1))
    assert limited([empty], NOW) == {"metered": NOW + 500_000}


LINES = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 4), st.one_of(st.none(), st.integers(1, 5)), st.booleans()), max_size=6
)


@given(LINES, st.integers(0, 12))
def test_no_limit_is_ever_passed_and_no_free_slot_is_left_while_something_may_run(
    shapes: list[tuple[int, int, int | None, bool]], slots: int
) -> None:
    lines = [
        line(f"q{number}", *range(ready), in_flight=running, max_workers=most, paused=paused)
        for number, (ready, running, most, paused) in enumerate(shapes)
    ]
    chosen = queues(lines, slots)
    room = {one.queue.name: one.room(NOW) for one in lines}
    assert all(chosen.count(name) <= room[name] for name in room)
    assert len(chosen) == min(slots, sum(room.values()))
