"""A step: one durable unit of work inside a run, as it is stored and as a worker receives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.model.lease import Lease
from flowkit.model.outcome import Outcome, StepError
from flowkit.model.outputs import ArtifactRef, Progress, Record
from flowkit.model.plan import Binding
from flowkit.model.retry import Retry
from flowkit.model.states import StepStatus


@attrs.frozen
class Step:
    """A step as it is stored. Times are integer microseconds UTC."""

    run_id: str
    id: str
    kind: str
    queue: str
    status: StepStatus
    attempt: int
    generation: int
    priority: int
    parent_id: str | None
    reason: str | None
    allow_failure: bool
    retry: Retry
    timeout: Micros | None
    created_at: Micros
    ready_at: Micros | None
    started_at: Micros | None
    ended_at: Micros | None
    waits_for: int = 0
    worker_id: str | None = None
    lease_expires_at: Micros | None = None
    dedup_key: str | None = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    progress: Progress | None = None
    error: StepError | None = None


@attrs.frozen
class Attempt:
    """One try at a step, counted when it started; ``outcome`` is None while it is running."""

    attempt: int
    generation: int
    epoch: int
    worker_id: str | None
    started_at: Micros
    ended_at: Micros | None
    outcome: str | None
    error: StepError | None = None


@attrs.frozen
class StepResult:
    """How a step ended and what it handed over.

    Attributes:
        data: the result as a plain JSON value, or structured into the type that was asked for.
        json: the result as it is stored, or None where the executor returned nothing.
        emitted_ids: the ids of the steps it emitted, in order.
        error: why it failed, where it did.
    """

    run_id: str
    step_id: str
    status: StepStatus
    data: Any
    json: str | None
    records: tuple[Record, ...] = ()
    artifacts: tuple[ArtifactRef, ...] = ()
    emitted_ids: tuple[str, ...] = ()
    error: StepError | None = None
    completed_at: Micros | None = None


@attrs.frozen
class LeasedStep:
    """All that one attempt needs to know, read in the cycle that leased the step."""

    key: int
    run_key: int
    run_id: str
    id: str
    kind: str
    queue: str
    attempt: int
    generation: int
    retry: Retry
    timeout: Micros | None
    lease: Lease
    input: bytes
    bindings: tuple[Binding, ...] = ()
    results: Mapping[int, bytes | None] = attrs.field(factory=dict)
    package: str = ""
    run_name: str | None = None
    run_metadata: str = "{}"
    metadata: str | None = None
    damage: str | None = None


@attrs.frozen
class Settlement:
    """One attempt's outcome, with the leased step that proves the right to write it."""

    leased: LeasedStep
    outcome: Outcome
    ended_at: Micros
    progress: Progress | None = None
