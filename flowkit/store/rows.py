"""Row to model value: each column is named once, beside the function that reads it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import attrs
from peewee import JOIN

from flowkit.model.gate import loads
from flowkit.model.outcome import StepError
from flowkit.model.outputs import Artifact, ArtifactRef, Progress, Record
from flowkit.model.run import Run, StepCounts
from flowkit.model.states import RunStatus, StepStatus
from flowkit.model.step import Attempt, Step
from flowkit.store.closing import error_from_text
from flowkit.store.database import Row
from flowkit.store.leases import verified
from flowkit.store.specs import retry_from
from flowkit.store.tables import Tables

_ERROR_SHOWN = frozenset({StepStatus.FAILED, StepStatus.READY, StepStatus.RUNNING})
"""Statuses in which the last attempt's error still says something; after the others it is history."""


def run_columns(r: Any) -> tuple[Any, ...]:
    """Return the columns that ``run_from_row`` reads."""
    times = (r.created_at, r.started_at, r.ended_at, r.updated_at)
    counts = (r.steps, r.open_steps, r.failed_steps, r.canceled_by_run)
    return (r.id, r.package, r.status, r.name, r.metadata, *times, r.generation, *counts)


def run_from_row(row: Row, body: Any = None) -> Run:
    """Make a run, with its input where that was read too."""
    run_id, package, status, name, metadata, created, started, ended, updated, generation, *counts = row
    return Run(
        id=run_id,
        package=package,
        status=RunStatus(status),
        name=name,
        metadata=json.loads(metadata),
        created_at=created,
        started_at=started,
        ended_at=ended,
        updated_at=updated,
        generation=generation,
        steps=StepCounts(*counts),
        input=bytes(body).decode() if body is not None else None,
    )


def select_steps(tables: Tables) -> Any:
    """Return a query of steps with all that ``step_from_row`` reads; it opens no payload."""
    s, p, lane, res, a, pro = tables.steps, tables.specs, tables.lanes, tables.results, tables.attempts, tables.progress
    parent, earlier = s.alias(), a.alias()
    failed = (earlier.step == s.key) & (earlier.generation == s.generation) & earlier.error.is_null(False)
    error = earlier.select(earlier.error).where(failed).order_by(earlier.epoch.desc()).limit(1)
    identity = (s.key, s.id, lane.kind, lane.queue, s.status, s.attempt, s.generation, s.priority, parent.id)
    policy = (s.reason, s.allow_failure, p.retry, p.timeout)
    times = (s.created_at, s.ready_at, s.started_at, res.started_at, a.started_at, s.ended_at)
    rest = (s.deps_left, s.worker, s.expires_at, s.dedup_key, p.metadata, pro.body, error)
    query = s.select(*identity, *policy, *times, *rest).join(lane, on=(lane.id == s.lane))
    query = query.switch(s).join(p, on=(p.step == s.key))
    query = query.switch(s).join(parent, JOIN.LEFT_OUTER, on=(parent.key == s.parent))
    query = query.switch(s).join(res, JOIN.LEFT_OUTER, on=(res.step == s.key))
    # An attempt that did not end the step says nothing about when the step, as it is now, was started.
    last = (a.step == s.key) & (a.epoch == s.epoch) & (a.generation == s.generation)
    last &= (s.status == "failed") | (a.outcome == "discarded")
    query = query.switch(s).join(a, JOIN.LEFT_OUTER, on=last)
    return query.switch(s).join(pro, JOIN.LEFT_OUTER, on=(pro.step == s.key))


def step_from_row(run_id: str, row: Row) -> Step:
    """Make a step of a row of ``select_steps``."""
    _, step_id, kind, queue, status_text, attempt, generation, priority, parent_id = row[:9]
    reason, allow_failure, retry, timeout = row[9:13]
    created, ready, running_since, result_started, attempt_started, ended = row[13:19]
    deps_left, worker, expires, dedup, metadata, progress, error = row[19:]
    status = StepStatus(status_text)
    started = {StepStatus.RUNNING: running_since, StepStatus.SUCCEEDED: result_started}.get(status, attempt_started)
    return Step(
        run_id=run_id,
        id=step_id,
        kind=kind,
        queue=queue,
        status=status,
        attempt=attempt,
        generation=generation,
        priority=priority,
        parent_id=parent_id,
        reason=reason,
        allow_failure=bool(allow_failure),
        retry=retry_from(retry),
        timeout=timeout,
        created_at=created,
        ready_at=ready,
        started_at=started,
        ended_at=ended,
        waits_for=deps_left,
        worker_id=worker,
        lease_expires_at=expires,
        dedup_key=dedup_key_of(dedup),
        metadata=json.loads(metadata) if metadata is not None else {},
        progress=Progress(**json.loads(progress)) if progress is not None else None,
        error=error_from_text(error) if status in _ERROR_SHOWN else None,
    )


def dedup_key_of(stored: str | None) -> str | None:
    """Return the key of a stored pair of kind and key."""
    return unquote(stored.partition("/")[2]) if stored is not None else None


def attempt_columns(a: Any, *, outcome: Any, error: Any, worker: Any = None, ended_at: Any = None) -> tuple[Any, ...]:
    """Return the columns that ``attempt_from_row`` reads, of a table that has some of them."""
    return (a.attempt, a.generation, a.epoch, worker or a.worker, a.started_at, ended_at or a.ended_at, outcome, error)


def attempt_from_row(row: Row) -> Attempt:
    """Make an attempt."""
    attempt, generation, epoch, worker, started, ended, outcome, error = row
    return Attempt(attempt, generation, epoch, worker, started, ended, outcome, error_from_text(error))


def record_columns(rec: Any) -> tuple[Any, ...]:
    """Return the columns that ``record_from_row`` reads, after the run's and the step's id."""
    return (rec.collection, rec.name, rec.body, rec.sha256, rec.created_at)


def record_from_row(row: Row) -> Record:
    """Make a record; raises ``DataCorrupted`` where its body is not what was stored."""
    run_id, step_id, collection, name, body, digest, created = row
    checked = verified(body, digest, f"record {name!r} in {collection!r} of step {step_id!r} of run {run_id!r}")
    return Record(run_id, step_id, collection, name, loads(checked), created)


def ref_columns(art: Any) -> tuple[Any, ...]:
    """Return the columns that ``ref_from_row`` reads."""
    return (art.id, art.name, art.kind, art.content_type, art.size, art.sha256, art.metadata)


def ref_from_row(row: Row) -> ArtifactRef:
    """Make an artifact's reference."""
    artifact_id, name, kind, content_type, size, digest, metadata = row
    known = json.loads(metadata) if metadata is not None else None
    return ArtifactRef(artifact_id, name, kind, content_type, size, bytes(digest).hex(), known)


def artifact_from_row(run_id: str, row: Row) -> Artifact:
    """Make an artifact; raises ``DataCorrupted`` where its bytes are not what was stored."""
    step_id, body, created = row[7:]
    if body is not None:
        body = verified(body, row[5], f"artifact {row[0]!r} of run {run_id!r}")
    known = attrs.asdict(ref_from_row(row[:7]), recurse=False)
    return Artifact(**known, run_id=run_id, step_id=step_id, body=body, created_at=created)


def missing_error(step_id: str) -> StepError:
    """Return what is said of a failed step of which no attempt tells why."""
    return StepError("unknown", f"no error of step {step_id!r} is stored")
