"""Every read of a store: what is said of single runs, steps and results, and here of all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from peewee import fn

from flowkit.clock import Micros
from flowkit.model.limits import NANO
from flowkit.model.states import RunStatus, StepStatus
from flowkit.model.stats import QueueInfo, Stats
from flowkit.store.database import Session
from flowkit.store.keys import MAX_NODES
from flowkit.store.queues import Queues, StoredQueue
from flowkit.store.statements import statement
from flowkit.store.views_results import ResultViews
from flowkit.store.views_runs import OPEN_RUN
from flowkit.store.workers import Workers


class Views(ResultViews):
    """Reads alone: nothing here changes a row."""

    @statement
    def _runs_by_status(self) -> Any:
        r = self._t.runs
        return r.select(r.status, fn.COUNT(r.key)).group_by(r.status)

    @statement
    def _steps_by_status(self) -> Any:
        s = self._t.steps
        return s.select(s.status, fn.COUNT(s.key)).group_by(s.status)

    @statement
    def _oldest_ready(self) -> Any:
        s = self._t.steps
        return s.select(fn.MIN(s.ready_at)).where((s.status == "ready") & s.delayed_until.is_null())

    @statement
    def _queue_names(self) -> Any:
        q, lane = self._t.queues, self._t.lanes
        return q.select(q.name).union(lane.select(lane.queue))

    def _by_queue(self, *conditions: Any) -> Any:
        s, lane = self._t.steps, self._t.lanes
        query = s.select(lane.queue, fn.COUNT(s.key)).join(lane, on=(lane.id == s.lane))
        return query.where(*conditions).group_by(lane.queue)

    @statement
    def _ready(self) -> Any:
        s, lane = self._t.steps, self._t.lanes
        query = s.select(lane.queue, fn.COUNT(s.key), fn.MIN(s.ready_at)).join(lane, on=(lane.id == s.lane))
        return query.where(s.status == "ready", s.delayed_until.is_null()).group_by(lane.queue)

    @statement
    def _delayed(self) -> Any:
        s = self._t.steps
        return self._by_queue(s.status == "ready", s.delayed_until.is_null(False))

    @statement
    def _running(self) -> Any:
        return self._by_queue(self._t.steps.status == "running")

    @statement
    def _pending(self) -> Any:
        s, r = self._t.steps, self._t.runs
        first = r.key * MAX_NODES
        of_run = s.key.between(first, first + (MAX_NODES - 1))
        # Only open runs have pending steps. What is added to the status keeps the planner from indexing all steps.
        return self._by_queue(s.status.concat("") == "pending").join(r, on=of_run).where(r.status.in_(OPEN_RUN))

    def stats(self, tx: Session) -> Stats:
        """Count what is in the store; an operator's question, for it looks at every run and step."""
        now = tx.now()
        runs: dict[str, int] = dict(tx.rows(self._runs_by_status))
        steps: dict[str, int] = dict(tx.rows(self._steps_by_status))
        row = tx.row(self._oldest_ready)
        oldest = row[0] if row else None
        return Stats(
            at=now,
            runs={status: runs.get(status.value, 0) for status in RunStatus},
            steps={status: steps.get(status.value, 0) for status in StepStatus},
            oldest_ready_age=max(0, now - oldest) if oldest is not None else None,
            workers=tuple(Workers(self.db, self._t).all(tx)),
        )

    def queues(self, tx: Session) -> tuple[QueueInfo, ...]:
        """Return how every queue stands that was configured or paused or that a step was ever in, by name."""
        now = tx.now()
        names = sorted(row[0] for row in tx.rows(self._queue_names))
        stored = Queues(self.db, self._t).read(tx, names)
        ready = {name: (count, oldest) for name, count, oldest in tx.rows(self._ready)}
        counted: list[dict[str, int]] = [{name: count for name, (count, _) in ready.items()}]
        counted += [dict(tx.rows(one)) for one in (self._delayed, self._running, self._pending)]
        ages = {name: max(0, now - oldest) for name, (_, oldest) in ready.items()}
        infos = (_queue_info(stored[name], [counts.get(name, 0) for counts in counted], now) for name in names)
        return tuple(attrs.evolve(info, oldest_ready_age=ages.get(info.name)) for info in infos)


def _queue_info(queue: StoredQueue, counts: Sequence[int], now: Micros) -> QueueInfo:
    bucket = queue.bucket
    tokens = bucket.refill(now).tokens_nano / NANO if bucket else None
    return QueueInfo(queue.name, queue.paused, queue.max_workers, bucket.limit if bucket else None, tokens, *counts)
