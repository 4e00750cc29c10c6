"""The model of one run: statuses and what follows from them, as the guarantees say it and not as the engine does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from tests.simulation.reference import Node, Wait

DEAD = frozenset({"failed", "canceled"})
ENDED = frozenset({"succeeded", "failed", "canceled"})

Asked = tuple[Any, ...] | None
"""What an operator asks for in the transaction that is judged."""


@attrs.define
class StepModel:
    """A step as it should be."""

    node: Node
    place: int
    parent: int | None
    status: str
    reason: str | None = None
    generation: int = 0
    attempt: int = 0
    epoch: int = 0
    worker: str | None = None
    value: Any = None


@attrs.define
class RunModel:
    """A run as it should be."""

    id: str
    key: int
    graph: list[dict[str, Any]]
    status: str = "pending"
    events: int = 0
    steps: dict[int, StepModel] = attrs.field(factory=dict)
    by_id: dict[str, StepModel] = attrs.field(factory=dict)
    twins: dict[tuple[str, str], str] = attrs.field(factory=dict)
    emitted: set[int] = attrs.field(factory=set)
    _reviving: dict[int, str] | None = None

    def begin_commit(self) -> None:
        """Forget what belongs to one transaction only."""
        self.emitted = set()
        self._reviving = None

    def value(self, step_id: str) -> Any:
        """Return a step's result, None where it has none."""
        step = self.by_id[step_id]
        return step.value if step.status == "succeeded" else None

    def is_dead(self, wait: Wait) -> str | None:
        """Return the id of a step that keeps this from ever being met, if there is one."""
        if not wait.required:
            return None
        return next((target for target in wait.targets if self.by_id[target].status in DEAD), None)

    def is_met(self, wait: Wait) -> bool:
        """Whether this holds a step up no longer."""
        wanted = {"succeeded"} if wait.required else ENDED
        return all(self.by_id[target].status in wanted for target in wait.targets)

    def due(self, node: Node) -> str:
        """Return where a step that waits belongs: canceled, ready or pending."""
        if any(self.is_dead(wait) for wait in node.waits):
            return "canceled"
        return "ready" if all(self.is_met(wait) for wait in node.waits) else "pending"

    def may_die_of(self, node: Node, reason: str | None) -> bool:
        """Whether this is a true reason why a step was canceled."""
        kind, _, culprit = (reason or "").partition(":")
        if kind != "dependency" or culprit not in self.by_id or self.by_id[culprit].status not in DEAD:
            return False
        return any(wait.required and culprit in wait.targets for wait in node.waits)

    def refuses(self, nodes: Sequence[Node]) -> str | None:
        """Return the code with which adding these steps must be refused, if it must be."""
        ids = [node.id for node in nodes]
        if any(id in self.by_id for id in ids) or len(set(ids)) < len(ids):
            return "emit_conflict"
        known = {*ids, *self.by_id}
        targets = {target for node in nodes for wait in node.waits for target in wait.targets}
        return None if targets <= known else "graph_error"

    def add(self, place: int, node: Node, parent: int | None, born: str, reason: str | None) -> Iterator[str]:
        """Take a new step."""
        if born != self.due(node):
            yield f"{node.id} was born {born}, it should be {self.due(node)}"
        if born == "canceled" and not self.may_die_of(node, reason):
            yield f"{node.id} was born canceled because of {reason}"
        step = StepModel(node, place, parent, born, reason)
        self.steps[place] = self.by_id[node.id] = step
        if node.dedup is not None:
            self.twins[node.kind, node.dedup] = node.id

    def consequence(self, name: str, step: StepModel, reason: str | None, asked: Asked) -> Iterator[str]:
        """Take what follows from other steps: promotion, cancellation, another reason."""
        if name == "step_promoted":
            if step.status != "pending" or self.due(step.node) != "ready":
                yield f"it is {step.status} and its dependencies say {self.due(step.node)}"
            step.status = "ready"
        elif name == "step_repointed":
            if step.status != "canceled" or not self.may_die_of(step.node, reason):
                yield f"{reason} is no reason for a step that is {step.status}"
            step.reason = reason
        elif reason is not None:
            if step.status != "pending" or not self.may_die_of(step.node, reason):
                yield f"{reason} is no reason for a step that is {step.status}"
            step.status, step.reason = "canceled", reason
        else:
            if step.status not in ("pending", "ready") or self.status != "canceling" or asked != ("cancel", self.id):
                yield f"it is {step.status} in a run that is {self.status}"
            step.status, step.reason = "canceled", "run"

    def cancel(self, asked: Asked) -> Iterator[str]:
        """Take the operator's cancel."""
        if asked != ("cancel", self.id) or self.status not in ("pending", "running"):
            yield f"the run is {self.status} and an operator asked for {asked}"
        self.status = "canceling"

    def finish(self, status: str) -> Iterator[str]:
        """Take the run's end."""
        if self.status in ENDED:
            yield f"it had ended {self.status} before"
        opened, failed, by_run = self.counts()
        end = "failed" if failed else "canceled" if by_run else "succeeded"
        end = "canceled" if self.status == "canceling" else end
        if opened or status != end:
            yield f"it has {opened} open steps and should end {end}"
        self.status = end

    def fence(self, step: StepModel, asked: Asked) -> Iterator[str]:
        """Take the operator's forced retry."""
        if asked != ("retry", self.id, step.node.id, True) or self.status == "canceling":
            yield f"an operator asked for {asked}, the run is {self.status}"
        step.status, step.generation, step.attempt = "ready", step.generation + 1, 0

    def revivable(self, first: set[int]) -> dict[int, str]:
        """Return where each step goes that comes back together with *first*."""
        back, changed = set(first), True
        while changed:
            changed = False
            for place, step in self.steps.items():
                if place in back or step.status != "canceled" or not (step.reason or "").startswith("dependency:"):
                    continue
                required = [self.by_id[t] for wait in step.node.waits if wait.required for t in wait.targets]
                if any(one.place in back for one in required) and not any(
                    one.status in DEAD and one.place not in back for one in required
                ):
                    back.add(place)
                    changed = True
        open_now = {p for p, step in self.steps.items() if step.status not in ENDED} | back
        targets = {
            place: [self.by_id[t].place for wait in self.steps[place].node.waits for t in wait.targets]
            for place in back
        }
        return {place: "pending" if open_now & set(targets[place]) else "ready" for place in sorted(back)}

    def revive(self, places: set[int], target: str, asked: Asked) -> Iterator[str]:
        """Take the operator's retry; the first of its entries brings every step back, the other one is compared."""
        if self._reviving is None:
            answer, first = self.would(asked)
            if answer != "ok":
                yield f"an operator asked for {asked}, which should have been {answer}"
            self._reviving = self.revivable(first)
            for place, status in self._reviving.items():
                step = self.steps[place]
                step.status, step.reason, step.value = status, None, None
                step.generation, step.attempt = step.generation + 1, 0
            self.status = "running"
        wanted = {place for place, status in self._reviving.items() if status == target}
        if places != wanted:
            yield f"{sorted(places)} came back {target}, it should have been {sorted(wanted)}"

    def would(self, asked: Asked) -> tuple[str, set[int]]:
        """Say what an operator's wish comes to now: ok, nothing or refused; and which steps it is about."""
        nothing: set[int] = set()
        if asked is None or asked[1] != self.id:
            return "refused", nothing
        if asked[0] == "cancel":
            answers = {"canceling": "nothing", "canceled": "nothing", "pending": "ok", "running": "ok"}
            return answers.get(self.status, "refused"), nothing
        if asked[0] == "retry_run":
            dead = {place for place, step in self.steps.items() if step.status in DEAD}
            return ("ok" if self.status in DEAD else "refused"), dead
        if asked[0] != "retry" or self.status == "canceling":
            return "refused", nothing
        step = self.by_id.get(asked[2])
        if step is None:
            return "refused", nothing
        if step.status == "running":
            return ("ok" if asked[3] else "refused"), {step.place}
        blocked = any(self.is_dead(wait) for wait in step.node.waits)
        if step.status not in DEAD or self.status == "succeeded" or blocked:
            return "refused", nothing
        return "ok", {step.place}

    def counts(self) -> tuple[int, int, int]:
        """Return the run's counters: open steps, steps that failed without leave, steps canceled with the run."""
        steps = self.steps.values()
        opened = sum(step.status not in ENDED for step in steps)
        failed = sum(step.status == "failed" and not step.node.allow_failure for step in steps)
        return opened, failed, sum(step.status == "canceled" and step.reason == "run" for step in steps)

    def problems(self) -> Iterator[str]:
        """Yield what a transaction has left undone."""
        for step in self.steps.values():
            if step.status == "pending" and self.due(step.node) != "pending":
                yield f"{step.node.id} still waits, it should be {self.due(step.node)}"
            if step.status == "canceled" and step.reason != "run" and not self.may_die_of(step.node, step.reason):
                yield f"{step.node.id} is canceled because of {step.reason}, which is not dead"
        opened = self.counts()[0]
        if self.status in ("running", "canceling") and not opened:
            yield f"nothing is open and the run is {self.status}"
