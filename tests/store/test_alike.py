"""Steps of a map, which differ in nothing but id, input and key, are stored as so many single ones would be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import attrs
import pytest

from flowkit.model.plan import Binding, Edge, Plan, StepSpec
from flowkit.model.retry import Retry
from flowkit.model.step import Settlement
from flowkit.store.keys import first_key
from tests.store.flow import Flow, failure, step, success

ODD = ["plain", "it's", 'a "quoted" one', "50% of %s", "what? why?", "é✓ 😀", "[1, 2]", "null", "\\N", "$.a", "1", ""]


def mapped(name: str, count: int, **options: Any) -> StepSpec:
    ids = [f"{name}[{ODD[at]}]" if at < len(ODD) else f"{name}[{at}]" for at in range(count)]
    return StepSpec("work", ids, [b"%d" % at for at in range(count)], **options)


def waiting(*edges: tuple[int, int | str, bool], specs: tuple[StepSpec, ...]) -> Plan:
    return Plan(specs, edges=tuple(Edge(*edge) for edge in edges))


PLANS = {
    "ready": Plan((mapped("a", 12), mapped("b", 3))),
    "delayed": Plan((mapped("a", 12, delay=5), mapped("b", 12, priority=-3, retry=Retry(7), timeout=9))),
    "other queues": Plan((mapped("a", 12, queue="q", allow_failure=True), mapped("b", 12, metadata='{"m": 1}'))),
    "all wait": waiting(*((at, 0, at % 2 == 0) for at in range(1, 13)), specs=(step("first"), mapped("a", 12))),
    "some wait": waiting(*((at, 0, True) for at in range(5, 13)), specs=(step("first"), mapped("a", 12))),
    "repeated": Plan((mapped("a", 12, dedup_keys=[f"k{at}" for at in range(12)]), mapped("b", 12))),
    "bound": Plan(
        (mapped("a", 12), mapped("b", 12, bindings=(Binding("all", ((0, 11),), many=True),))),
        ("a",),
        (*(Edge(24, at, False) for at in range(12)), *(Edge(12 + at, 24) for at in range(12))),
    ),
    "on what failed": waiting(*((at, "failed", at % 3 == 0) for at in range(12)), specs=(mapped("a", 12),)),
}


def stored(flow: Flow, run_id: str) -> dict[str, list[list[Any]]]:
    """Return what is stored of a run's steps, their keys counted from its first one."""
    run = flow.key(run_id)
    first, end = first_key(run), first_key(run + 1)

    def told(row: Any) -> list[Any]:
        cells = [bytes(cell) if isinstance(cell, memoryview) else cell for cell in row]
        return [cell - first if isinstance(cell, int) and first <= cell < end else cell for cell in cells]

    found = {}
    for name, key in (("steps", "key"), ("specs", "step"), ("gates", "key")):
        with flow.engine.read() as tx:
            rows = tx.script(f"SELECT * FROM {name} WHERE {key} BETWEEN {first} AND {end - 1} ORDER BY {key}")
        found[name] = [told(row) for row in rows]
    for row in found["steps"]:
        assert row.pop(1) == run
    return found


def one_by_one(plan: Plan) -> Plan:
    """Return the plan with a declaration for each step."""
    singles = (
        attrs.evolve(
            spec, ids=[id], inputs=[spec.inputs[at]], dedup_keys=spec.dedup_keys and [spec.dedup_keys[at]]
        )
        for spec in plan.specs
        for at, id in enumerate(spec.ids)
    )
    return Plan(tuple(singles), plan.gates, plan.edges)


def started(flow: Flow, plan: Plan) -> str:
    return flow.start(plan)


def emitted(flow: Flow, plan: Plan) -> str:
    run_id = flow.start(step("failed", "begin", allow_failure=True), step("parent", "begin"))
    failed, parent = flow.lease(kinds=["begin"])
    flow.settle(failed, failure())
    flow.settle(parent, success(emission=plan))
    return run_id


ADDED = [
    pytest.param(add, plan, id=f"{add.__name__}, {name}")
    for add in (started, emitted)
    for name, plan in PLANS.items()
    if add is emitted or not plan.stored_targets()
]


@pytest.mark.parametrize(("add", "plan"), ADDED)
def test_steps_that_are_alike_are_stored_as_single_ones_are(
    flow: Flow, add: Callable[[Flow, Plan], str], plan: Plan
) -> None:
    def stored_from(plan: Plan, shares: int) -> dict[str, list[list[Any]]]:
        with mock.patch.object(type(flow.engine.db.dialect), "shares", shares):
            return stored(flow, add(flow, plan))

    together = stored_from(plan, 2)

    assert together == stored_from(plan, 1_000_000)
    assert together == stored_from(one_by_one(plan), 1_000_000)
    assert [row[1] for row in together["steps"]][-len(plan.ids) :] == plan.ids


def emitted_at_once(flow: Flow) -> list[dict[str, list[list[Any]]]]:
    """Let steps of two runs, one of them emitted itself, each emit a map in one transaction; return what is stored."""
    one, other = (flow.start(step("first", "begin"), step("second", "begin")) for _ in range(2))
    first, *parents = flow.lease(kinds=["begin"])
    flow.settle(first, success(emission=Plan((step("child", "begin"),))))
    parents += flow.lease(kinds=["begin"])
    maps = [Plan((mapped(f"{leased.id}.", 12), mapped(f"{leased.id}:", 12, priority=1))) for leased in parents]
    outcomes = [success(emission=plan) for plan in maps]
    inbox = [Settlement(leased, outcome, flow.clock.now()) for leased, outcome in zip(parents, outcomes)]

    flow.turn(inbox, slots=0)

    return [stored(flow, one), stored(flow, other)]


def test_what_several_steps_emit_at_once_has_each_its_own_parent(flow: Flow) -> None:
    with mock.patch.object(type(flow.engine.db.dialect), "shares", 2):
        together = emitted_at_once(flow)
    with mock.patch.object(type(flow.engine.db.dialect), "shares", 1_000_000):
        assert together == emitted_at_once(flow)

    with flow.engine.read() as tx:
        born = tx.script(
            "SELECT parent.id, child.depth, count(*) FROM steps child JOIN steps parent ON parent.key = child.parent"
            " GROUP BY parent.key, parent.id, child.depth ORDER BY parent.key"
        )
    of_two_runs = [("first", 1, 1), ("second", 1, 24), ("child", 2, 24), ("first", 1, 24), ("second", 1, 24)]
    assert [tuple(row) for row in born] == 2 * of_two_runs
