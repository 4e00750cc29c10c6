"""A process knows which commits to its file were not its own, so that after its own it need not look for work."""

from __future__ import annotations

from threading import Thread

from flowkit.store.sqlite import version_of
from tests.store.flow import Flow, step


def test_a_commit_of_its_own_is_no_news_and_that_of_another_process_is_once(flow: Flow, other: Flow) -> None:
    db = flow.engine.db
    assert db.others_committed(version_of)  # what was there before it was asked the first time
    assert not db.others_committed(version_of)

    flow.start(step("a"))
    flow.lease()
    assert not db.others_committed(version_of)

    other.start(step("b"), run_id="other")
    assert db.others_committed(version_of)
    assert not db.others_committed(version_of)


def test_a_commit_that_comes_between_two_of_its_own_is_news(flow: Flow, other: Flow) -> None:
    db = flow.engine.db
    db.others_committed(version_of)

    flow.start(step("a"))
    other.start(step("b"), run_id="other")
    flow.start(step("c"))

    assert db.others_committed(version_of)


def test_a_transaction_that_others_roll_back_is_no_news(flow: Flow, other: Flow) -> None:
    db = flow.engine.db
    db.others_committed(version_of)

    try:
        with other.engine.write() as tx:
            other.engine.lanes.ids(tx, [("queue", "kind")])
            raise LookupError
    except LookupError:
        pass

    assert not db.others_committed(version_of)


def test_while_it_writes_itself_it_does_not_wait_to_know(flow: Flow) -> None:
    db = flow.engine.db
    db.others_committed(version_of)
    told: list[bool] = []

    with flow.engine.write():
        asking = Thread(target=lambda: told.append(db.others_committed(version_of)))
        asking.start()
        asking.join(10)

    assert told == [True]


def test_of_a_store_that_is_closed_anything_may_be_news(flow: Flow) -> None:
    flow.engine.db.close()

    assert flow.engine.db.others_committed(version_of)
