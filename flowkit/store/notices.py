"""What one process tells all others of a store when it commits: that there is work, and which runs have ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from flowkit.model.states import RunStatus

WORK = "work"
"""Somebody else may have something to do."""

_ENDED = "ended"
"""Before how a run has ended, and its id."""

ANYTHING = "anything"
"""In place of more notices than are worth telling one by one."""

MOST = 20
"""How many runs are told of one by one."""

_STATUSES = frozenset(status.value for status in RunStatus)
_READY = frozenset({"step_promoted", "step_revived", "step_reclaimed", "step_retried", "step_released", "step_fenced"})


def ready_in(entries: Iterable[tuple[Any, ...]]) -> int:
    """Return how many more steps these entries of a history made ready than they leased."""
    ready = 0
    for entry in entries:
        if entry[0] == "step_leased":
            ready -= 1
        elif entry[0] == "steps_added":
            ready += _length(entry[3]["ready"])
        elif entry[0] in _READY:
            ready += _length(entry[1]) if isinstance(entry[1], (list, tuple)) else 1
    return ready


def ended(runs: Collection[tuple[str, RunStatus]]) -> list[str]:
    """Return what is told of runs that have ended, each with how it did."""
    return [f"{_ENDED}:{status.value}:{run_id}" for run_id, status in runs] if len(runs) <= MOST else [ANYTHING]


def ended_run(notice: str) -> tuple[str, RunStatus] | None:
    """Return which run has ended, and how, if that is what a notice tells."""
    kind, _, told = notice.partition(":")
    status, _, run_id = told.partition(":")
    return (run_id, RunStatus(status)) if kind == _ENDED and status in _STATUSES else None


def _length(spans: Iterable[Sequence[int]]) -> int:
    return sum(last - first + 1 for first, last in spans)
