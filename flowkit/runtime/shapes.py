"""What runs, steps, queues and results look like as JSON: the keys are stable, times are ISO 8601 in UTC."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from flowkit.clock import SECOND, Micros
from flowkit.model.events import HistoryEvent
from flowkit.model.outcome import StepError
from flowkit.model.outputs import ArtifactRef, Record
from flowkit.model.run import Run
from flowkit.model.stats import QueueInfo
from flowkit.model.step import Attempt, Step, StepResult

Shape = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def instant(micros: Micros | None) -> str | None:
    """Write an instant as ``2025-01-31T12:00:00.000000Z``."""
    if micros is None:
        return None
    return f"{_EPOCH + timedelta(microseconds=micros):%Y-%m-%dT%H:%M:%S.%fZ}"


def run_shape(run: Run) -> Shape:
    """Shape a run; its input is there where it was read."""
    return {
        "id": run.id,
        "package": run.package,
        "status": run.status.value,
        "name": run.name,
        "metadata": dict(run.metadata),
        "created_at": instant(run.created_at),
        "started_at": instant(run.started_at),
        "ended_at": instant(run.ended_at),
        "updated_at": instant(run.updated_at),
        "generation": run.generation,
        "steps": {"total": run.steps.total, "open": run.steps.open, "failed": run.steps.failed},
        **({"input": json.loads(run.input)} if run.input is not None else {}),
    }


def step_shape(step: Step) -> Shape:
    """Shape a step, without its result."""
    progress = step.progress
    return {
        "id": step.id,
        "kind": step.kind,
        "queue": step.queue,
        "status": step.status.value,
        "reason": step.reason,
        "parent": step.parent_id,
        "attempt": step.attempt,
        "max_attempts": step.retry.max_attempts,
        "generation": step.generation,
        "priority": step.priority,
        "waits_for": step.waits_for,
        "allow_failure": step.allow_failure,
        "timeout_seconds": step.timeout / SECOND if step.timeout is not None else None,
        "metadata": dict(step.metadata),
        "worker": step.worker_id,
        "created_at": instant(step.created_at),
        "ready_at": instant(step.ready_at),
        "started_at": instant(step.started_at),
        "ended_at": instant(step.ended_at),
        "lease_expires_at": instant(step.lease_expires_at),
        "progress": progress and {"done": progress.done, "total": progress.total, "message": progress.message},
        "error": error_shape(step.error),
    }


def error_shape(error: StepError | None) -> Shape | None:
    """Shape why a step failed."""
    if error is None:
        return None
    return {
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        "details": error.details,
        "traceback": error.traceback,
        "occurred_at": instant(error.occurred_at),
    }


def attempt_shape(attempt: Attempt) -> Shape:
    """Shape one attempt of a step."""
    return {
        "attempt": attempt.attempt,
        "generation": attempt.generation,
        "outcome": attempt.outcome,
        "worker": attempt.worker_id,
        "started_at": instant(attempt.started_at),
        "ended_at": instant(attempt.ended_at),
        "error": error_shape(attempt.error),
    }


def event_shape(event: HistoryEvent) -> Shape:
    """Shape an event of a run's history."""
    return {
        "seq": event.seq,
        "at": instant(event.at),
        "event": event.name,
        "step": event.step_id,
        "worker": event.worker_id,
        "epoch": event.epoch,
        "fields": {name: value for name, value in event.fields.items() if name != "ready"},
    }


def result_shape(result: StepResult) -> Shape:
    """Shape what a step handed over."""
    return {
        "run": result.run_id,
        "step": result.step_id,
        "status": result.status.value,
        "data": json.loads(result.json) if result.json is not None else None,
        "records": [record_shape(record) for record in result.records],
        "artifacts": [artifact_shape(artifact) for artifact in result.artifacts],
        "emitted": list(result.emitted_ids),
        "error": error_shape(result.error),
        "completed_at": instant(result.completed_at),
    }


def record_shape(record: Record) -> Shape:
    """Shape a record."""
    return {
        "run": record.run_id,
        "step": record.step_id,
        "collection": record.collection,
        "key": record.key,
        "data": record.data,
        "created_at": instant(record.created_at),
    }


def artifact_shape(artifact: ArtifactRef) -> Shape:
    """Shape an artifact, without its bytes."""
    return {
        "id": artifact.id,
        "name": artifact.name,
        "kind": artifact.kind,
        "content_type": artifact.content_type,
        "size": artifact.size,
        "sha256": artifact.sha256,
        "metadata": artifact.metadata,
    }


def queue_shape(queue: QueueInfo) -> Shape:
    """Shape a queue as it stands."""
    rate = queue.rate_limit
    return {
        "name": queue.name,
        "paused": queue.paused,
        "max_workers": queue.max_workers,
        "rate_per_second": rate.rate_per_second if rate is not None else None,
        "burst": rate.burst if rate is not None else None,
        "tokens": queue.tokens,
        "ready": queue.ready,
        "delayed": queue.delayed,
        "running": queue.running,
        "pending": queue.pending,
    }
