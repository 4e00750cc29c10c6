"""What one process tells all others of a store when it commits: that there is work, and which runs have ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

WORK = "work"
"""Somebody else may have something to do."""

ENDED = "ended:"
"""Before the id of a run that has ended."""

ANYTHING = "anything"
"""In place of more notices than are worth telling one by one."""

MOST = 20
"""How many runs are told of one by one."""

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


def ended(run_ids: Sequence[str]) -> list[str]:
    """Return what is told of runs that have ended."""
    return [f"{ENDED}{run_id}" for run_id in run_ids] if len(run_ids) <= MOST else [ANYTHING]


def _length(spans: Iterable[Sequence[int]]) -> int:
    return sum(last - first + 1 for first, last in spans)
