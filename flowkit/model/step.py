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
from flowkit.model.struct import struct


@attrs.frozen
class Step:
    """A step as it is stored. Times are integer microseconds UTC.

    Attributes:
        run_id: the run it belongs to.
        id: unique in its run.
        kind: which executor runs it.
        queue: the line it waits in.
        status: where it is.
        attempt: the number of the attempt that runs or ran last, in this generation; 0 before the first.
        generation: how often an operator retried it.
        priority: -1000 to 1000, smaller first.
        parent_id: the step that emitted it; None for one that the entrypoint declared.
        reason: why it is canceled: ``run``, or ``dependency:<id>``.
        allow_failure: whether the run may succeed although this step failed.
        retry: its policy.
        timeout: microseconds that one attempt may take; None is no limit.
        created_at: when it was stored.
        ready_at: when it became, or becomes, due; None while it is pending.
        started_at: when its latest attempt began.
        ended_at: when it ended.
        waits_for: how many steps and groups it still waits for.
        worker_id: who runs it, while it is running.
        lease_expires_at: until when that worker holds it, unless it extends the lease.
        dedup_key: at most one step of its kind has this key in the run.
        metadata: the JSON object that it was declared with.
        progress: what it last said of itself.
        error: why its latest attempt failed, if it did.
    """

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
    """One try at a step, counted when it started. Times are integer microseconds UTC.

    Attributes:
        attempt: its number in the generation, from 1; one that a stopping worker gave back has its number again.
        generation: how often an operator had retried the step.
        epoch: a number that grows with each lease of the step and never comes back.
        worker_id: who ran it.
        started_at: when it was leased.
        ended_at: when it was settled; None while it is running.
        outcome: ``succeeded``, ``retried``, ``failed``, ``lost``, ``released``, ``fenced`` or ``discarded``; None while
            it is running.
        error: why it failed, if it did.
    """

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
        run_id: the run.
        step_id: the step.
        status: how it ended.
        data: the result as a plain JSON value, or structured into the type that was asked for.
        json: the result as it is stored, or None where the executor returned nothing.
        records: its records, in the order they were made.
        artifacts: its artifacts, without their bytes.
        emitted_ids: the ids of the steps it emitted, in order.
        error: why it failed, where it did.
        completed_at: when it ended, in microseconds UTC.
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


@struct
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


@struct
class Settlement:
    """One attempt's outcome, with the leased step that proves the right to write it."""

    leased: LeasedStep
    outcome: Outcome
    ended_at: Micros
    progress: Progress | None = None
