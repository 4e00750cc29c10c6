"""What operators ask of a whole store: how much there is in each status, and how each queue stands."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from flowkit.clock import Micros
from flowkit.model.limits import RateLimit
from flowkit.model.states import RunStatus, StepStatus
from flowkit.model.worker import WorkerInfo


@attrs.frozen
class QueueInfo:
    """A queue at one instant.

    Attributes:
        name: the queue.
        paused: whether it is.
        max_workers: its stored limit of what runs at once; None where there is none.
        rate_limit: its stored limit of starts; None where there is none.
        tokens: how many steps may start now before the rate limit holds them up; None without one.
        ready: steps that may be leased now.
        delayed: ready steps that are due later.
        running: steps that hold a lease, expired or not.
        pending: steps of open runs that wait for dependencies.
        oldest_ready_age: how long the one that waits longest might have been leased, in microseconds; None if none may.
    """

    name: str
    paused: bool = False
    max_workers: int | None = None
    rate_limit: RateLimit | None = None
    tokens: float | None = None
    ready: int = 0
    delayed: int = 0
    running: int = 0
    pending: int = 0
    oldest_ready_age: Micros | None = None


@attrs.frozen
class Stats:
    """A store at one instant.

    Attributes:
        at: the instant, in microseconds UTC.
        runs: how many there are in each status, zeros included.
        steps: how many there are in each status, zeros included.
        oldest_ready_age: how long the step that waits longest might have been leased, in microseconds; None if none is
            ready now.
        workers: every worker that announced itself and did not leave; some may have died since.
    """

    at: Micros
    runs: Mapping[RunStatus, int]
    steps: Mapping[StepStatus, int]
    oldest_ready_age: Micros | None
    workers: tuple[WorkerInfo, ...]
