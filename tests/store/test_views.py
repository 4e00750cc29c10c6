"""Operators see how much is in the store, and how each queue stands."""

from __future__ import annotations

from flowkit.clock import SECOND
from flowkit.model.limits import QueueConfig, RateLimit
from flowkit.model.stats import QueueInfo, Stats
from flowkit.model.worker import WorkerInfo
from tests.store.clock import START
from tests.store.flow import Flow, failure, plan, step


def stats(flow: Flow) -> Stats:
    with flow.engine.read() as tx:
        return flow.engine.views.stats(tx)


def queues(flow: Flow) -> dict[str, QueueInfo]:
    with flow.engine.read() as tx:
        return {queue.name: queue for queue in flow.engine.views.queues(tx)}


def configure(flow: Flow, name: str, config: QueueConfig) -> None:
    with flow.engine.write() as tx:
        flow.engine.queues.configure(tx, name, config, by="worker", now=tx.now())


def test_an_empty_store_has_zero_of_everything(flow: Flow) -> None:
    found = stats(flow)
    assert set(found.runs.values()) | set(found.steps.values()) == {0}
    assert (len(found.runs), len(found.steps), found.oldest_ready_age, found.workers) == (6, 6, None, ())
    assert queues(flow) == {}


def test_runs_and_steps_are_counted_by_status(flow: Flow) -> None:
    flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    flow.do()
    flow.start(step("c"), step("d"))
    flow.do(failure(), run="run-2")
    found = stats(flow)
    assert {status.value: count for status, count in found.runs.items() if count} == {"running": 2}
    assert {status.value: count for status, count in found.steps.items() if count} == {
        "succeeded": 1,
        "ready": 2,
        "failed": 1,
    }


def test_the_age_of_the_oldest_ready_step_counts_from_when_it_could_be_leased(flow: Flow) -> None:
    flow.start(step("later", delay=60 * SECOND))
    assert stats(flow).oldest_ready_age is None
    flow.start(step("now"))
    flow.clock.advance(7)
    flow.start(step("just now"))
    assert (stats(flow).oldest_ready_age, stats(flow).at) == (7 * SECOND, START + 7 * SECOND)


def test_the_workers_that_announced_themselves_are_told(flow: Flow) -> None:
    worker = WorkerInfo("w", "here", 1, "", ("work",), START, START)
    with flow.engine.write() as tx:
        flow.engine.workers.announce(tx, worker)
    assert stats(flow).workers == (worker,)


def test_every_queue_that_is_configured_or_was_ever_used_is_told_with_what_is_in_it(flow: Flow) -> None:
    waiting = plan(step("a", queue="cpu"), step("b", queue="cpu"), step("c", "other", queue="cpu"), after={"b": ["a"]})
    flow.start(waiting)
    flow.clock.advance(1)
    flow.start(step("d", queue="cpu", delay=60 * SECOND), step("e", queue="net"))
    flow.clock.advance(2)
    flow.start(step("f", queue="net"))
    flow.lease_one(kinds=["other"])
    with flow.engine.write() as tx:
        flow.engine.queues.pause(tx, "idle", paused=True)
    assert queues(flow) == {
        "cpu": QueueInfo("cpu", ready=1, delayed=1, running=1, pending=1, oldest_ready_age=3 * SECOND),
        "idle": QueueInfo("idle", paused=True),
        "net": QueueInfo("net", ready=2, oldest_ready_age=2 * SECOND),
    }
    assert list(queues(flow)) == ["cpu", "idle", "net"]


def test_what_has_ended_is_in_no_queue_any_more(flow: Flow) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    flow.do()
    flow.cancel(run)
    assert queues(flow) == {"default": QueueInfo("default")}


def test_a_queues_limits_are_told_with_the_tokens_that_are_in_its_bucket_now(flow: Flow) -> None:
    limit = RateLimit(2, burst=4)
    configure(flow, "default", QueueConfig(3, limit))
    flow.start(*(step(str(number)) for number in range(9)))
    assert len(flow.lease(3)) == 3
    assert queues(flow)["default"] == QueueInfo(
        "default", max_workers=3, rate_limit=limit, tokens=1.0, ready=6, running=3, oldest_ready_age=0
    )
    flow.clock.advance(0.75)
    assert queues(flow)["default"].tokens == 2.5
