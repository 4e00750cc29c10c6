"""Why a step is not running now: the true reason, from the predicates that choosing uses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta, timezone
from typing import Literal

import attrs

from flowkit.clock import Micros
from flowkit.model.limits import NANO
from flowkit.model.outcome import GIVEN_UP, is_given_up
from flowkit.model.states import RunStatus, StepStatus
from flowkit.model.step import Step
from flowkit.scheduler.choose import Line
from flowkit.store.database import Session
from flowkit.store.engine import Engine
from flowkit.store.explaining import SHOWN, Explaining, Listed, Standing
from flowkit.store.queues import StoredQueue

Reason = Literal[
    "could_run",
    "behind",
    "dependencies",
    "delayed",
    "retry",
    "queue_paused",
    "queue_full",
    "rate_limited",
    "unserved",
    "workers_hang",
    "running",
    "canceling",
    "succeeded",
    "failed",
    "canceled",
]


@attrs.frozen
class Explanation:
    """Why a step is not running now. Times are integer microseconds UTC.

    Attributes:
        run_id: the run.
        step_id: the step.
        status: where it is.
        reason: a short code. ``could_run`` and ``behind``: nothing holds the step but the workers' free slots, which
            the store does not know; behind, others of its queue come first.
        text: the same in one sentence, for people.
        waits_for: the steps of the run that it waits for, the first 20 of them.
        held_by: what holds it: steps as ``run/step``, or a worker; the first 20 of them.
        earliest_at: when it could start at the earliest, as things stand; None where no time can be told.
    """

    run_id: str
    step_id: str
    status: StepStatus
    reason: Reason
    text: str
    waits_for: tuple[str, ...] = ()
    held_by: tuple[str, ...] = ()
    earliest_at: Micros | None = None

    @property
    def could_run_now(self) -> bool:
        """Whether a worker with enough free slots would start it now."""
        return self.reason in ("could_run", "behind")


@attrs.frozen
class _Obstacle:
    """One thing that keeps a ready step from being leased; without a time there is no telling how long."""

    reason: Reason
    text: str
    until: Micros | None = None
    held_by: tuple[str, ...] = ()


def explain(
    engine: Engine,
    tx: Session,
    run_id: str,
    step_id: str,
    served_kinds: Collection[str],
    blocked: Sequence[str] = (),
) -> Explanation:
    """Say why a step is not running now.

    Args:
        served_kinds: the kinds that live workers serve.
        blocked: the workers that serve the step, if of all of them attempts that hang hold every slot.

    Raises:
        RunNotFound, StepNotFound: there is none.
    """
    step = engine.views.step(tx, run_id, step_id)
    reads = engine.explaining
    standing = reads.standing(tx, run_id, step_id)
    if step.status.is_ended:
        return _ended(step)
    if step.status is StepStatus.RUNNING:
        return _running(step, standing, tx.now())
    if step.status is StepStatus.PENDING:
        return _pending(step, reads.blockers(tx, standing.key))
    return _Ready(engine, tx, reads, step, standing).explain(served_kinds, blocked)


def _said(step: Step, reason: Reason, text: str, **more: object) -> Explanation:
    return Explanation(step.run_id, step.id, step.status, reason, text, **more)  # type: ignore[arg-type]


def _ended(step: Step) -> Explanation:
    when = _at(step.ended_at)
    if step.status is StepStatus.SUCCEEDED:
        return _said(step, "succeeded", f"it succeeded {when}")
    if step.status is StepStatus.FAILED:
        error = f" with {step.error.code}: {step.error.message}" if step.error else ""
        given_up = step.error is not None and is_given_up(step.error, step.attempt, step.retry.max_attempts)
        why = f"; {GIVEN_UP}" if given_up else ""
        return _said(step, "failed", f"it failed {when} after attempt {step.attempt}{error}{why}")
    kind, _, culprit = (step.reason or "").partition(":")
    because = f"step {culprit!r}, which it requires, did not succeed" if kind == "dependency" else "its run was"
    held_by = (f"{step.run_id}/{culprit}",) if culprit else ()
    return _said(step, "canceled", f"it was canceled {when}, because {because}", held_by=held_by)


def _running(step: Step, standing: Standing, now: Micros) -> Explanation:
    worker = step.worker_id or ""
    until = f"its lease lasts until {_time(step.lease_expires_at or now)}"
    if step.lease_expires_at is not None and step.lease_expires_at <= now:
        until = f"its lease ran out {_at(step.lease_expires_at)} and will be taken back"
    if standing.run_status is RunStatus.CANCELING:
        text = f"its run was canceled: worker {worker!r} was told to stop it; {until}"
        return _said(step, "canceling", text, held_by=(worker,))
    return _said(step, "running", f"worker {worker!r} runs attempt {step.attempt}; {until}", held_by=(worker,))


def _pending(step: Step, blockers: Listed) -> Explanation:
    steps = "1 step" if blockers.count == 1 else f"{blockers.count} steps"
    text = f"it waits for {steps}: {_names(blockers)}"
    return _said(step, "dependencies", text, waits_for=blockers.names)


class _Ready:
    """A ready step and the line it stands in."""

    def __init__(self, engine: Engine, tx: Session, reads: Explaining, step: Step, standing: Standing) -> None:
        self._engine = engine
        self._tx = tx
        self._reads = reads
        self._step = step
        self._standing = standing
        self._now = tx.now()
        self._queue = engine.queues.read(tx, [standing.queue])[standing.queue]

    def explain(self, served: Collection[str], blocked: Sequence[str]) -> Explanation:
        """Name what holds the step; where several things do, first one of which nobody can say how long it lasts."""
        due_at = self._standing.delayed_until
        obstacles = self._standing_orders(served, blocked)
        if due_at is not None and due_at > self._now:
            return self._held([*obstacles, *self._later(due_at)])
        lanes = [lane.id for lane in self._engine.lanes.serving(self._tx, served) if lane.queue == self._queue.name]
        ahead = self._reads.ahead(self._tx, self._standing.candidate, lanes, self._now)
        obstacles += self._limits(ahead)
        return self._held(obstacles) if obstacles else self._free(ahead)

    def _held(self, obstacles: list[_Obstacle]) -> Explanation:
        endless = [one for one in obstacles if one.until is None]
        first = endless[0] if endless else max(obstacles, key=lambda one: one.until or 0)
        text = "; and ".join([first.text, *(one.text for one in obstacles if one is not first)])
        return _said(self._step, first.reason, text, held_by=first.held_by, earliest_at=first.until)

    def _free(self, ahead: Listed) -> Explanation:
        if not ahead.count:
            text = f"it could run now: it is the next in queue {self._queue.name!r} that a free worker takes"
            return _said(self._step, "could_run", text, earliest_at=self._now)
        others = "1 other step" if ahead.count == 1 else f"{ahead.count} other steps"
        come = "comes" if ahead.count == 1 else "come"
        text = (
            f"it could run now, but {others} of queue {self._queue.name!r} {come} first, by priority or because they "
            f"waited longer: {_names(ahead)}"
        )
        return _said(self._step, "behind", text, held_by=ahead.names, earliest_at=self._now)

    def _standing_orders(self, served: Collection[str], blocked: Sequence[str]) -> list[_Obstacle]:
        found = []
        kind = self._standing.kind
        if kind not in served:
            found.append(_Obstacle("unserved", f"no live worker serves kind {kind!r}"))
        if blocked:
            text = f"attempts that hang hold every slot of the workers that serve kind {kind!r}"
            found.append(_Obstacle("workers_hang", text, held_by=tuple(blocked[:SHOWN])))
        if self._queue.paused:
            found.append(_Obstacle("queue_paused", f"queue {self._queue.name!r} is paused"))
        return found

    def _later(self, due_at: Micros) -> list[_Obstacle]:
        # Who will be running or waiting by then, nobody knows; only the bucket's refill is as sure as the delay.
        if self._step.attempt:
            why = f" after {self._step.error.code}" if self._step.error else ""
            due = _Obstacle("retry", f"attempt {self._step.attempt + 1}{why} is due {_at(due_at)}", due_at)
        else:
            due = _Obstacle("delayed", f"it is delayed until {_time(due_at)}", due_at)
        bucket = self._queue.bucket
        if bucket is None or bucket.refill(due_at).whole:
            return [due]
        return [due, self._tokenless(0, bucket.refill(due_at).next_at())]

    def _limits(self, ahead: Listed) -> list[_Obstacle]:
        return [*self._full(ahead), *self._rate_limited(ahead)]

    def _has_room(self, queue: StoredQueue, in_flight: int, ahead: int) -> bool:
        # The line as choosing sees it, from its head to this step: there is room for it if there is room for all.
        line = Line(queue, in_flight, (self._standing.candidate,) * (ahead + 1))
        return line.room(self._now) > ahead

    def _full(self, ahead: Listed) -> list[_Obstacle]:
        limit = self._queue.max_workers
        if limit is None:
            return []
        in_flight = self._engine.queues.in_flight(self._tx).get(self._queue.name, 0)
        unlimited = attrs.evolve(self._queue, paused=False, bucket=None)
        if self._has_room(unlimited, in_flight, ahead.count):
            return []
        first = f" and {ahead.count} come first" if ahead.count else ""
        text = f"queue {self._queue.name!r} runs at most {limit} at once: {in_flight} run{first}"
        holders = (*self._reads.running(self._tx, self._queue.name), *ahead.names)[:SHOWN]
        return [_Obstacle("queue_full", text, held_by=holders)]

    def _rate_limited(self, ahead: Listed) -> list[_Obstacle]:
        bucket = self._queue.bucket
        unlimited = attrs.evolve(self._queue, paused=False, max_workers=None)
        if bucket is None or self._has_room(unlimited, 0, ahead.count):
            return []
        now = bucket.refill(self._now)
        # Those ahead take their tokens first, as they come in.
        at = attrs.evolve(now, tokens_nano=now.tokens_nano - ahead.count * NANO).next_at()
        return [self._tokenless(ahead.count, at, ahead.names)]

    def _tokenless(self, ahead: int, at: Micros, held_by: tuple[str, ...] = ()) -> _Obstacle:
        assert self._queue.bucket is not None
        rate = self._queue.bucket.limit.rate_per_second
        first = f", and {ahead} come first" if ahead else ""
        text = f"queue {self._queue.name!r} starts {rate:g} steps a second{first}: its turn comes {_at(at)}"
        return _Obstacle("rate_limited", text, at, held_by)


def _names(listed: Listed) -> str:
    more = listed.count - len(listed.names)
    return ", ".join(repr(name) for name in listed.names) + (f" and {more} more" if more > 0 else "")


def _at(instant: Micros | None) -> str:
    if instant is None:
        return "at an unknown time"
    return f"at {_time(instant)}"


def _time(instant: Micros) -> str:
    when = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=instant)
    return f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03} UTC"
