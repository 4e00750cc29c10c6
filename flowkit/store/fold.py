"""Replays a run's history: what its entries say each step and the run should be by now, and which of them cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from flowkit.model.moves import LEGAL
from flowkit.model.states import OPEN_STEP, RunStatus, StepStatus

PENDING, READY, RUNNING = StepStatus.PENDING, StepStatus.READY, StepStatus.RUNNING
SUCCEEDED, FAILED, CANCELED = StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.CANCELED

MOVED_TO: Mapping[str, StepStatus] = {
    "step_promoted": READY,
    "step_leased": RUNNING,
    "step_succeeded": SUCCEEDED,
    "step_retried": READY,
    "step_failed": FAILED,
    "step_released": READY,
    "step_discarded": CANCELED,
    "step_canceled": CANCELED,
    "step_reclaimed": READY,
    "step_lost": FAILED,
    "step_fenced": READY,
    "step_revived": READY,
    "step_revived_waiting": PENDING,
}
"""Where each entry about steps leaves them; ``steps_added`` apart, which says it of each."""

_AFTER_CANCEL = frozenset({"step_discarded", "step_canceled", "run_finished"})
ATTEMPT_ENDS = frozenset(
    {"step_succeeded", "step_retried", "step_failed", "step_released", "step_discarded"}
    | {"step_reclaimed", "step_lost", "step_fenced"}
)
"""The entries that end an attempt, and so free the slot it had in its queue."""

_REVIVED = frozenset({"step_revived", "step_revived_waiting"})


@attrs.define
class Folded:
    """What a history comes to.

    Attributes:
        run: the run's status.
        steps: by place, each step's status.
        epochs: by place, the epoch of a step's newest lease.
        parents: by place, the place of the step that emitted a step.
        problems: what no sound history would say, in order.
        late: what happened between the run's cancellation and its end though nothing should.
    """

    run: RunStatus = RunStatus.PENDING
    steps: dict[int, StepStatus] = attrs.field(factory=dict)
    epochs: dict[int, int] = attrs.field(factory=dict)
    parents: dict[int, int] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)
    late: list[str] = attrs.field(factory=list)


def fold(entries: Iterable[Sequence[Any]]) -> Folded:
    """Replay the entries of one run in order.

    Args:
        entries: as the history stores them: name, place or spans of places, epoch, and perhaps a mapping of more.
    """
    folded = Folded()
    for entry in entries:
        name, places, epoch = entry[:3]
        more: Mapping[str, Any] = entry[3] if len(entry) > 3 else {}
        if folded.run is RunStatus.CANCELING and name not in _AFTER_CANCEL:
            folded.late.append(f"{name} in a run that is being canceled")
        if name in MOVED_TO:
            _move(folded, name, list(places_of(places)), epoch)
        elif name in _RUN_ENTRIES:
            _RUN_ENTRIES[name](folded, places, more)
        elif name != "step_repointed":
            folded.problems.append(f"{name} is no entry that a history has")
    return folded


def places_of(places: int | Sequence[Sequence[int]] | None) -> Iterator[int]:
    """Yield the places that an entry is about."""
    if isinstance(places, int):
        yield places
    else:
        for low, high in places or ():
            yield from range(low, high + 1)


def _move(folded: Folded, name: str, places: list[int], epoch: int | None) -> None:
    target = MOVED_TO[name]
    for place in places:
        source = folded.steps.get(place)
        if source is None or (source, target) not in LEGAL:
            folded.problems.append(f"{name} at place {place}, which was {source.value if source else 'not there'}")
        folded.steps[place] = target
    if name == "step_leased":
        _lease(folded, places, epoch)
    elif name in _REVIVED:
        folded.run = RunStatus.RUNNING
    elif folded.run.is_ended:
        folded.problems.append(f"{name} in a run that had ended {folded.run.value}")
    if name in ATTEMPT_ENDS:
        folded.problems += [
            f"{name} at place {place} by attempt {epoch}, but the one leased last is {folded.epochs.get(place)}"
            for place in places
            if folded.epochs.get(place) != epoch
        ]


def _lease(folded: Folded, places: list[int], epoch: int | None) -> None:
    if folded.run is RunStatus.PENDING:
        folded.run = RunStatus.RUNNING
    if folded.run is not RunStatus.RUNNING:
        folded.problems.append(f"step_leased in a run that is {folded.run.value}")
    for place in places:
        if epoch != folded.epochs.get(place, 0) + 1:
            folded.problems.append(f"attempt {epoch} leased at place {place} after {folded.epochs.get(place, 0)}")
        folded.epochs[place] = epoch or 0


def _added(folded: Folded, places: Any, more: Mapping[str, Any]) -> None:
    if folded.run.is_ended:
        folded.problems.append(f"steps_added to a run that had ended {folded.run.value}")
    new = dict.fromkeys(places_of(places), PENDING)
    new |= dict.fromkeys(places_of(more.get("ready")), READY)
    new |= dict.fromkeys(places_of(more.get("canceled")), CANCELED)
    again = new.keys() & folded.steps.keys()
    if again:
        folded.problems.append(f"steps_added twice at place {min(again)}")
    folded.steps |= new
    if "parent" in more:
        folded.parents |= dict.fromkeys(new, more["parent"])


def _canceling(folded: Folded, places: Any, more: Mapping[str, Any]) -> None:
    if folded.run.is_ended:
        folded.problems.append(f"run_canceling in a run that had ended {folded.run.value}")
    folded.run = RunStatus.CANCELING


def _finished(folded: Folded, places: Any, more: Mapping[str, Any]) -> None:
    end = RunStatus(more["status"])
    still = [place for place, status in folded.steps.items() if status in OPEN_STEP]
    if still:
        folded.problems.append(f"the run ended {end.value} with place {still[0]} still {folded.steps[still[0]].value}")
    if folded.run is RunStatus.CANCELING and end is not RunStatus.CANCELED:
        folded.problems.append(f"the run ended {end.value} while it was being canceled")
    folded.run = end


_RUN_ENTRIES: Mapping[str, Callable[[Folded, Any, Mapping[str, Any]], None]] = {
    "steps_added": _added,
    "run_canceling": _canceling,
    "run_finished": _finished,
}
