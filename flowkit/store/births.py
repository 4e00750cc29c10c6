"""In which status each node of a plan is born: pure counting over its edges, in an order that respects them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Protocol

import attrs

from flowkit.errors import GraphError
from flowkit.model.plan import Edge, Node, Plan
from flowkit.model.states import DEAD_STEP, StepStatus


class Standing(Protocol):
    """A stored step: its id and its status."""

    @property
    def id(self) -> str:
        """The step's id."""

    @property
    def status(self) -> StepStatus:
        """The step's status."""


@attrs.define
class Born:
    """What each node of a plan starts with; a node's number is its place in the plan, steps first.

    Attributes:
        status: of each step; a gate's says whether it is open (pending), met (succeeded) or dead (canceled).
        left: how many dependencies (or, of a gate, members) are still open.
        failed: of a gate, how many members have ended without success.
        reason: why a step is born canceled.
        is_plain: whether nothing waits for anything, and all are ready.
    """

    status: list[StepStatus]
    left: list[int]
    failed: list[int]
    reason: dict[int, str]
    is_plain: bool = False


def births(plan: Plan, stored: Mapping[Node, Standing]) -> Born:
    """Count what each new node waits for.

    Args:
        stored: by id, the stored steps that the plan points at; by place, those that stand for a repeated dedup key.
    """
    total = len(plan.ids) + len(plan.gates)
    born = Born([StepStatus.READY] * total, [0] * total, [0] * total, {})
    if not plan.edges and not stored:
        born.is_plain = True
        return born
    into: dict[int, list[Edge]] = {}
    waiters: dict[int, list[int]] = {}
    blockers = [0] * total
    for edge in plan.edges:
        into.setdefault(edge.waiter, []).append(edge)
        if isinstance(edge.target, int) and edge.target not in stored:
            waiters.setdefault(edge.target, []).append(edge.waiter)
            blockers[edge.waiter] += 1
    open_nodes = deque(node for node in range(total) if not blockers[node])
    done = 0
    while open_nodes:
        node = open_nodes.popleft()
        done += 1
        _settle_birth(node, into.get(node, ()), stored, plan, born)
        for waiter in waiters.get(node, ()):
            blockers[waiter] -= 1
            if not blockers[waiter]:
                open_nodes.append(waiter)
    if done < total:
        raise GraphError("the steps wait for each other in a circle")
    return born


def _settle_birth(
    node: int, edges: Iterable[Edge], stored: Mapping[Node, Standing], plan: Plan, born: Born
) -> None:
    is_gate = node >= len(plan.ids)
    seen: set[object] = set()
    for edge in sorted(edges, key=lambda edge: not edge.required):
        standing = stored.get(edge.target)
        identity: object = standing.id if standing else edge.target
        if identity in seen:
            continue
        seen.add(identity)
        is_open, is_dead = _condition(edge.target, standing, plan, born)
        if is_dead and (is_gate or edge.required):
            born.failed[node] += 1
            born.reason.setdefault(node, _reason(edge.target, standing, plan, born))
        elif is_open:
            born.left[node] += 1
    if is_gate:
        # A required waiter dies with a gate's first failure; an optional one waits for the rest of its members.
        born.status[node] = StepStatus.PENDING if born.left[node] else StepStatus.SUCCEEDED
    elif node in born.reason:
        born.status[node] = StepStatus.CANCELED
    elif born.left[node]:
        born.status[node] = StepStatus.PENDING


def _condition(target: Node, standing: Standing | None, plan: Plan, born: Born) -> tuple[bool, bool]:
    """Say whether a target is still open, and whether something in it has ended without success."""
    if standing is None and isinstance(target, int):
        if target >= len(plan.ids):
            return born.left[target] > 0, born.failed[target] > 0
        status = born.status[target]
    else:
        assert standing is not None, f"{target!r} was looked up before"
        status = standing.status
    return not status.is_ended, status in DEAD_STEP


def _reason(target: Node, standing: Standing | None, plan: Plan, born: Born) -> str:
    if standing is not None:
        return f"dependency:{standing.id}"
    assert isinstance(target, int)
    return born.reason[target] if target >= len(plan.ids) else f"dependency:{plan.ids[target]}"
