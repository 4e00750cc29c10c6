"""Past-tense facts that lower floors return: the runtime tells them to the log and to observers, after the commit."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from flowkit.clock import Micros

EventName = Literal[
    "run_created",
    "step_leased",
    "step_succeeded",
    "step_retried",
    "step_failed",
    "step_canceled",
    "lease_expired",
    "run_updated",
    "run_finished",
    "queue_rate_limited",
    "idle",
    "clock_stepped_back",
    "attempt_divergence",
]


@attrs.frozen
class Event:
    """Something that happened and is committed.

    Attributes:
        name: what happened.
        at: the engine's time, in microseconds UTC.
        run_id: the run, where it is about one.
        step_id: the step, where it is about one.
        kind: the step's kind.
        queue: the step's queue, or the one that is at its rate.
        attempt: the number of the attempt.
        worker_id: who ran it.
        fields: what else is known about it, such as ``status`` or ``code``.
    """

    name: EventName
    at: Micros
    run_id: str | None = None
    step_id: str | None = None
    kind: str | None = None
    queue: str | None = None
    attempt: int | None = None
    worker_id: str | None = None
    fields: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class HistoryEvent:
    """One entry of a run's stored history.

    Attributes:
        seq: its number in the run, without gaps.
        at: when, in microseconds UTC.
        name: what happened.
        step_id: the step, where it is about one.
        epoch: the lease of the step that it belongs to.
        worker_id: who did it, where a worker did.
        fields: what else is known about it.
    """

    seq: int
    at: Micros
    name: str
    step_id: str | None = None
    epoch: int | None = None
    worker_id: str | None = None
    fields: dict[str, Any] = attrs.field(factory=dict)
