"""The commands of operators: each is one transaction, and gives back what it changed as it is now."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from flowkit.clock import Duration, in_seconds, micros
from flowkit.errors import ConfigError, FlowkitError
from flowkit.model.names import name_problem
from flowkit.model.retry import seconds_in_range
from flowkit.model.run import Run
from flowkit.model.states import ENDED_RUN, RunStatus
from flowkit.model.step import Step
from flowkit.runtime.parts import Parts
from flowkit.runtime.settings import checked_id
from flowkit.store.tally import Tally

PRUNE_BATCH = 100


class Operators:
    """What can be done to runs, steps and queues from outside."""

    _parts: Parts

    def retry_step(self, run_id: str, step_id: str, *, force: bool = False) -> Step:
        """Give a failed or canceled step a fresh budget of attempts; what was canceled because of it comes back too.

        Args:
            force: a running step too: its attempt loses the lease, and whatever it delivers is discarded.

        Raises:
            RunNotFound, StepNotFound: there is none.
            InvalidTransition: it is not failed or canceled, or something that it requires is.
        """
        parts = self._parts
        parts.check_open()
        run_id, step_id = checked_id("run_id", run_id), checked_id("step_id", step_id)
        with parts.engine.write() as tx:
            events = parts.engine.commands.retry_step(tx, run_id, step_id, self._tally(tx.now()), force=force)
        parts.told(events)
        with parts.engine.read() as tx:
            return parts.engine.views.step(tx, run_id, step_id)

    def retry_run(self, run_id: str) -> Run:
        """Give every failed or canceled step of a failed or canceled run a fresh budget of attempts.

        Raises:
            RunNotFound: there is none.
            InvalidTransition: it is not failed or canceled.
        """
        parts = self._parts
        parts.check_open()
        run_id = checked_id("run_id", run_id)
        with parts.engine.write() as tx:
            events = parts.engine.commands.retry_run(tx, run_id, self._tally(tx.now()))
        parts.told(events)
        return parts.waiting.get_run(run_id)

    def cancel_run(self, run_id: str) -> Run:
        """Cancel a run: what waits ends now; what runs is told, and whatever it still delivers is discarded.

        Raises:
            RunNotFound: there is none.
            InvalidTransition: it had ended already.
        """
        parts = self._parts
        parts.check_open()
        run_id = checked_id("run_id", run_id)
        with parts.engine.write() as tx:
            events = parts.engine.commands.cancel_run(tx, run_id, self._tally(tx.now()))
        parts.told(events)
        stop = self._stop_if_canceled if parts.engine.db.joins_program() else parts.stop_run
        parts.engine.db.after_commit(lambda: stop(run_id))
        return parts.waiting.get_run(run_id)

    def _stop_if_canceled(self, run_id: str) -> None:
        # The program may have taken the cancel back to a savepoint of its own, and committed the rest. Where that
        # cannot be asked the program's commit is made all the same, and the executors are told with their leases.
        with suppress(FlowkitError), self._parts.engine.db.outside() as tx:
            run = self._parts.engine.runs.find(tx, run_id)
            if run is not None and run.status in (RunStatus.CANCELING, RunStatus.CANCELED):
                self._parts.stop_run(run_id)

    def pause_queue(self, name: str) -> None:
        """Start no more steps of a queue, in any worker of the store, until it is resumed."""
        self._pause(name, paused=True)

    def resume_queue(self, name: str) -> None:
        """Let a paused queue go on."""
        self._pause(name, paused=False)

    def _pause(self, name: str, *, paused: bool) -> None:
        self._parts.check_open()
        problem = name_problem(name, spaces=False)
        if problem:
            raise ConfigError(f"queue: name: {problem}")
        with self._parts.engine.write() as tx:
            self._parts.engine.queues.pause(tx, name, paused=paused)
        self._parts.told([])

    def prune(
        self,
        *,
        older_than: Duration | datetime,
        statuses: Collection[RunStatus | str] = tuple(sorted(ENDED_RUN)),
        limit: int | None = None,
    ) -> int:
        """Remove ended runs with all that belongs to them, in batches; returns how many.

        Args:
            older_than: seconds or a timedelta since they ended, or an aware datetime.
            statuses: which ended runs.
            limit: how many at most.

        Raises:
            ConfigError: an argument is out of range, or a status is not one of an ended run.
        """
        parts = self._parts
        parts.check_open()
        cutoff = self._cutoff(older_than)
        wanted = _ended(statuses)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise ConfigError(f"prune: limit: expected None or an int >= 1, got {limit!r}")
        removed = 0
        while limit is None or removed < limit:
            batch = PRUNE_BATCH if limit is None else min(PRUNE_BATCH, limit - removed)
            with parts.engine.write() as tx:
                count = parts.engine.pruning.prune(tx, older_than=cutoff, statuses=wanted, limit=batch)
            removed += count
            if not count:
                break
        return removed

    def _cutoff(self, older_than: Any) -> int:
        if isinstance(older_than, datetime):
            if older_than.tzinfo is None:
                raise ConfigError("prune: older_than: expected an aware datetime, got a naive one")
            return micros(older_than.timestamp())
        given = in_seconds(older_than)
        return self._parts.clock.now() - micros(seconds_in_range("prune", "older_than", given))

    def _tally(self, now: int) -> Tally:
        return Tally(now, listening=self._parts.telemetry.listening)


def _ended(statuses: Collection[RunStatus | str]) -> list[RunStatus]:
    if not isinstance(statuses, Iterable):
        raise ConfigError(f"prune: statuses: expected one status or several, got {statuses!r}")
    found = []
    for status in [statuses] if isinstance(statuses, str) else statuses:
        try:
            known = RunStatus(status)
        except ValueError:
            known = RunStatus.PENDING
        if not known.is_ended:
            raise ConfigError(f"prune: statuses: expected 'succeeded', 'failed' or 'canceled', got {status!r}")
        found.append(known)
    return found
