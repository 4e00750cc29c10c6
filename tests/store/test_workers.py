"""Workers announce themselves; whether one is still there is decided from what it said and what its host knows."""

from __future__ import annotations

import attrs
import pytest

from flowkit.clock import SECOND
from flowkit.model.worker import WorkerInfo, is_live
from flowkit.store.engine import Engine

INFO = WorkerInfo("w", "here", 4711, "123", ("book/index", "book/ocr"), 10 * SECOND, 10 * SECOND)


def announce(engine: Engine, *workers: WorkerInfo) -> None:
    with engine.write() as tx:
        for worker in workers:
            engine.workers.announce(tx, worker)


def everyone(engine: Engine) -> list[WorkerInfo]:
    with engine.read() as tx:
        return engine.workers.all(tx)


def test_a_worker_that_announces_itself_is_listed_as_it_said(engine: Engine) -> None:
    announce(engine, INFO)
    assert everyone(engine) == [INFO]


def test_a_worker_that_comes_back_under_its_id_replaces_itself(engine: Engine) -> None:
    again = attrs.evolve(INFO, pid=4712, born="456", kinds=("book/ocr",), started_at=20, seen_at=20)
    announce(engine, INFO, again)
    assert everyone(engine) == [again]


def test_a_worker_says_from_where_it_takes_steps_and_what_room_it_has(engine: Engine) -> None:
    worker = attrs.evolve(INFO, queues=("cpu", "mail"), slots=4, hung={"book/ocr": 3})
    announce(engine, worker)
    assert everyone(engine) == [worker]


def test_a_worker_that_told_its_kinds_alone_as_all_once_did_is_listed(engine: Engine) -> None:
    with engine.write() as tx:
        tx.script("INSERT INTO workers VALUES ('w', 'here', 1, '', '[\"book/ocr\"]', 5, 6)")
    assert everyone(engine) == [WorkerInfo("w", "here", 1, "", ("book/ocr",), 5, 6)]


@pytest.mark.parametrize(("slots", "blocked"), [(None, False), (4, False), (3, True)])
def test_a_worker_whose_slots_are_all_held_by_attempts_that_hang_is_blocked(slots: int | None, blocked: bool) -> None:
    assert attrs.evolve(INFO, slots=slots, hung={"a": 2, "b": 1}).is_blocked is blocked


def test_a_worker_that_leaves_and_those_that_are_forgotten_are_listed_no_more(engine: Engine) -> None:
    announce(engine, *(attrs.evolve(INFO, id=name) for name in "abcd"))
    with engine.write() as tx:
        engine.workers.leave(tx, "a")
        engine.workers.forget(tx, ["b", "d"])
    assert [worker.id for worker in everyone(engine)] == ["c"]


@pytest.mark.parametrize("exists", [True, False])
def test_on_its_own_host_the_process_alone_decides(exists: bool) -> None:
    asked: list[tuple[int, str]] = []

    def process_exists(pid: int, born: str) -> bool:
        asked.append((pid, born))
        return exists

    assert is_live(INFO, host="here", now=10**18, process_exists=process_exists) is exists
    assert asked == [(4711, "123")]


@pytest.mark.parametrize(("silent", "live"), [(0, True), (300, True), (301, False), (-5, True)])
def test_from_another_host_a_worker_is_live_for_five_minutes_after_it_was_seen(silent: int, live: bool) -> None:
    now = INFO.seen_at + silent * SECOND
    assert is_live(INFO, host="there", now=now, process_exists=lambda pid, born: pytest.fail("not ours to ask")) is live


def test_where_the_host_cannot_tell_it_is_decided_as_from_another_host() -> None:
    later = INFO.seen_at + 301 * SECOND
    assert is_live(INFO, host="here", now=INFO.seen_at, process_exists=lambda pid, born: None)
    assert not is_live(INFO, host="here", now=later, process_exists=lambda pid, born: None)
