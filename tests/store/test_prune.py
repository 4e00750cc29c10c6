"""Pruning removes ended runs with all that belongs to them, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from flowkit.clock import SECOND
from flowkit.errors import ConfigError
from flowkit.model.outputs import Progress
from flowkit.model.plan import Edge, Plan
from flowkit.store import prune as prune_module
from tests.store.clock import START
from tests.store.flow import Flow, again, artifact, failure, record, step, success

KEPT = {"meta", "lanes", "queues", "workers", "kinds", "packages"}


def full_run(flow: Flow, run_id: str) -> None:
    """Make a run that has rows in every table, and end it."""
    gated = Plan((step("a"), step("b"), step("c"), step("d")), gates=("g",), edges=_through_gate())
    flow.start(gated, run_id=run_id)
    flow.do(again(), run=run_id)
    leased = flow.lease_one(run=run_id)
    made = {"records": (record("c", run_id, 1),), "artifacts": (artifact(f"{run_id}:1", b"x"),)}
    flow.settle(leased, success(1, **made, emission=Plan((step("e"),))), progress=Progress(1))
    flow.finish()


def _through_gate() -> tuple[Edge, ...]:
    members, waiters = [Edge(4, 0), Edge(4, 1)], [Edge(2, 4), Edge(3, 4)]
    return (*members, *waiters)


def rows(flow: Flow) -> dict[str, int]:
    with flow.engine.read() as tx:
        names = [table._meta.table_name for table in flow.engine.tables.all()]
        return {name: tx.script(f"SELECT count(*) FROM {name}")[0][0] for name in names if name not in KEPT}


def prune(flow: Flow, **options: Any) -> int:
    with flow.engine.write() as tx:
        return flow.engine.pruning.prune(tx, **{"older_than": flow.clock.now() + 1, **options})


def run_ids(flow: Flow) -> list[str]:
    with flow.engine.read() as tx:
        return sorted(run.id for run in flow.engine.views.runs(tx))


def test_nothing_of_a_pruned_run_is_left_in_any_table(flow: Flow) -> None:
    full_run(flow, "r")
    assert 0 not in rows(flow).values()
    assert prune(flow) == 1
    assert set(rows(flow).values()) == {0}


def test_of_the_runs_beside_a_pruned_one_nothing_is_missing(flow: Flow) -> None:
    flow.start(step("open"), run_id="before")
    flow.lease_one()
    untouched = rows(flow)
    full_run(flow, "r")
    prune(flow)
    assert rows(flow) == untouched
    flow.start(step("s"), run_id="after")
    assert run_ids(flow) == ["after", "before"]


def test_only_runs_that_ended_before_the_cutoff_are_pruned(flow: Flow) -> None:
    for name in "abc":
        flow.start(step("s"), run_id=name)
        flow.do()
        flow.clock.advance(1)
    assert prune(flow, older_than=START + 1 * SECOND) == 1
    assert run_ids(flow) == ["b", "c"]


def test_a_run_that_has_not_ended_is_never_pruned(flow: Flow) -> None:
    flow.start(step("s"), run_id="pending")
    flow.start(step("s"), run_id="canceling")
    flow.lease_one(run="canceling")
    flow.cancel("canceling")
    flow.clock.advance(10**6)
    assert prune(flow) == 0
    assert run_ids(flow) == ["canceling", "pending"]


def test_only_runs_of_the_wanted_statuses_are_pruned(flow: Flow) -> None:
    for name, outcome in (("good", success()), ("bad", failure())):
        flow.start(step("s"), run_id=name)
        flow.do(outcome)
    assert prune(flow, statuses=["failed"]) == 1
    assert run_ids(flow) == ["good"]


def test_a_status_in_which_a_run_has_not_ended_is_refused(flow: Flow) -> None:
    with pytest.raises(ConfigError, match="prune: statuses: .*'running'"):
        prune(flow, statuses=["failed", "running"])


def test_at_most_the_limit_is_pruned_at_once_the_oldest_first(flow: Flow) -> None:
    for name in "abc":
        flow.start(step("s"), run_id=name)
        flow.do()
    assert [prune(flow, limit=2), prune(flow, limit=2), prune(flow, limit=2)] == [2, 1, 0]
    assert run_ids(flow) == []


def test_a_transaction_takes_no_more_runs_than_its_share_of_steps_but_always_one(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune_module, "MAX_BATCH_NODES", 5)
    for name, count in (("a", 9), ("b", 2), ("c", 2), ("d", 2)):
        flow.start(*(step(str(number)) for number in range(count)), run_id=name)
        flow.finish()
    assert [prune(flow) for _ in range(4)] == [1, 2, 1, 0]


def test_the_external_artifacts_that_runs_refer_to_are_told_until_the_last_of_them_is_pruned(flow: Flow) -> None:
    shared, own = artifact("", b"shared", external=True), artifact("", b"own", external=True)
    for name, made in (("a", (shared, own)), ("b", (shared, artifact("inline", b"x")))):
        flow.start(step("s"), run_id=name)
        flow.do(success(artifacts=made))
        flow.clock.advance(1)
    told = []
    for _ in range(3):
        with flow.engine.read() as tx:
            told.append(flow.engine.pruning.artifact_hashes(tx))
        prune(flow, limit=1)
    assert told == [{shared.id, own.id}, {shared.id}, set()]
