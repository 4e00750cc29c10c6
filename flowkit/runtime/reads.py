"""The reads of a Runtime: each asks one question of the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from flowkit.errors import RunNotFound
from flowkit.model.definitions import ANY
from flowkit.model.events import HistoryEvent
from flowkit.model.outputs import Artifact, ArtifactRef, Record
from flowkit.model.run import Page, Run
from flowkit.model.states import RunStatus, StepStatus
from flowkit.model.stats import QueueInfo, Stats
from flowkit.model.step import Attempt, Step, StepResult
from flowkit.projections import Projection
from flowkit.runtime.handle import RunHandle
from flowkit.runtime.parts import Parts
from flowkit.runtime.settings import checked_id
from flowkit.scheduler.explain import Explanation, explain
from flowkit.store.catalog import Recorded
from flowkit.store.views_runs import RunFilter

Instant = datetime | int


class Reads:
    """What can be read of a store; inside the program's own transaction, as that sees it."""

    _parts: Parts

    def workflow(self, run_id: str) -> Run | None:
        """Return a run, or None where there is none with this id."""
        self._parts.check_open()
        run_id = checked_id("run_id", run_id)
        with self._parts.engine.read() as tx:
            return self._parts.engine.views.run(tx, run_id)

    def handle(self, run_id: str) -> RunHandle[Any]:
        """Return a handle on a run that is there.

        Raises:
            RunNotFound: it is not.
        """
        run = self.workflow(run_id)
        if run is None:
            raise RunNotFound(run_id)
        return RunHandle(run.id, run.package, run.name, False, self._parts.waiting)

    def runs(
        self,
        *,
        status: RunStatus | str | Collection[RunStatus | str] | None = None,
        package: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Run]:
        """List runs, the newest first.

        Args:
            status: one or several.
            package: the name of what was started.
            metadata: entries that a run's metadata must have.
            since: created then or later; an aware datetime or microseconds UTC.
            until: created before then.
            limit: how many at most on a page.
            cursor: of the page before.

        Raises:
            ConfigError: a limit, instant or cursor that is none.
        """
        self._parts.check_open()
        package = package if package is None else checked_id("package", package)
        only = RunFilter(status, package, metadata, since, until)
        with self._parts.engine.read() as tx:
            return self._parts.engine.views.runs(tx, only, limit=limit, cursor=cursor)

    def run_ids(self, prefix: str = "", *, limit: int = 100) -> tuple[str, ...]:
        """Return the ids of runs that begin with *prefix*, in alphabetical order; for completing what people type.

        Raises:
            ConfigError: the prefix is no text, or the limit is none.
        """
        self._parts.check_open()
        prefix = checked_id("run_ids: prefix", prefix)
        with self._parts.engine.read() as tx:
            return self._parts.engine.views.run_ids(tx, prefix, limit=limit)

    def steps(
        self,
        run_id: str,
        *,
        status: StepStatus | str | Collection[StepStatus | str] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Step]:
        """List a run's steps in the order they were declared.

        Raises:
            RunNotFound: there is no such run.
            ConfigError: a status, limit or cursor that is none.
        """
        self._parts.check_open()
        run_id = checked_id("run_id", run_id)
        with self._parts.engine.read() as tx:
            return self._parts.engine.views.steps(tx, run_id, status=status, limit=limit, cursor=cursor)

    def step(self, run_id: str, step_id: str) -> Step:
        """Return one step.

        Raises:
            RunNotFound, StepNotFound: there is none.
        """
        self._parts.check_open()
        run_id, step_id = checked_id("run_id", run_id), checked_id("step_id", step_id)
        with self._parts.engine.read() as tx:
            return self._parts.engine.views.step(tx, run_id, step_id)

    def attempts(self, run_id: str, step_id: str) -> tuple[Attempt, ...]:
        """Return every attempt of a step, the open one last.

        Raises:
            RunNotFound, StepNotFound: there is none.
        """
        self._parts.check_open()
        run_id, step_id = checked_id("run_id", run_id), checked_id("step_id", step_id)
        with self._parts.engine.read() as tx:
            return self._parts.engine.views.attempts(tx, run_id, step_id)

    def history(self, run_id: str) -> tuple[HistoryEvent, ...]:
        """Return what happened in a run, in order and without gaps.

        Raises:
            RunNotFound: there is none.
        """
        self._parts.check_open()
        run_id = checked_id("run_id", run_id)
        with self._parts.engine.read() as tx:
            return self._parts.engine.views.history(tx, run_id)

    def result(self, run_id: str, step_id: str, type: Any = ANY) -> StepResult | None:
        """Return how a step ended and what it handed over; None only while it has not ended.

        Args:
            type: structure ``data`` into this instead of leaving it plain JSON.

        Raises:
            RunNotFound, StepNotFound: there is none.
            DataCorrupted: what is stored does not match its checksum.
        """
        self._parts.check_open()
        run_id, step_id = checked_id("run_id", run_id), checked_id("step_id", step_id)
        with self._parts.engine.read() as tx:
            found = self._parts.engine.views.result(tx, run_id, step_id)
        return found if found is None or type is ANY else self._parts.typed(found, type)

    def records(
        self, run_id: str | None = None, *, collection: str, limit: int = 1000, cursor: str | None = None
    ) -> Page[Record]:
        """List the records of a collection, of one run or of all, in the order they were stored.

        Raises:
            RunNotFound: there is no such run.
            ConfigError: a limit or cursor that is none.
            DataCorrupted: what is stored does not match its checksum.
        """
        self._parts.check_open()
        run_id = run_id if run_id is None else checked_id("run_id", run_id)
        collection = checked_id("collection", collection)
        with self._parts.engine.read() as tx:
            views = self._parts.engine.views
            return views.records(tx, run_id, collection=collection, limit=limit, cursor=cursor)

    def artifact(self, run_id: str, artifact_id: str) -> Artifact:
        """Return an artifact; the bytes of an external one are read with the artifact store's ``open(id)``.

        Raises:
            RunNotFound: there is no such run.
            ResultNotFound: it has no such artifact.
            DataCorrupted: the bytes do not match their checksum.
        """
        self._parts.check_open()
        run_id, artifact_id = checked_id("run_id", run_id), checked_id("artifact_id", artifact_id)
        with self._parts.engine.read() as tx:
            return self._parts.engine.views.artifact(tx, run_id, artifact_id)

    def artifacts(self, run_id: str, step_id: str | None = None) -> tuple[ArtifactRef, ...]:
        """List the artifacts of a run, or of one of its steps, without their bytes.

        Raises:
            RunNotFound, StepNotFound: there is none.
        """
        self._parts.check_open()
        run_id = checked_id("run_id", run_id)
        step_id = step_id if step_id is None else checked_id("step_id", step_id)
        with self._parts.engine.read() as tx:
            return self._parts.engine.views.artifacts(tx, run_id, step_id)

    def projection(self, name: str) -> Projection:
        """Return a projection by name.

        Raises:
            ConfigError: the Runtime has no projection store, or it is no name.
        """
        self._parts.check_open()
        return self._parts.projection_store().open(name)

    def stats(self) -> Stats:
        """Count the store's runs and steps by status."""
        self._parts.check_open()
        with self._parts.engine.read() as tx:
            return self._parts.engine.views.stats(tx)

    def queues(self) -> tuple[QueueInfo, ...]:
        """Return every queue: its limits, and how much waits and runs in it."""
        self._parts.check_open()
        with self._parts.engine.read() as tx:
            return self._parts.engine.views.queues(tx)

    def catalog(self) -> Recorded:
        """Return the kinds and packages that any process has registered with the store, without importing them."""
        self._parts.check_open()
        with self._parts.engine.read() as tx:
            known = self._parts.engine.catalog
            return Recorded(tuple(known.kinds(tx)), tuple(known.packages(tx)))

    def explain(self, run_id: str, step_id: str) -> Explanation:
        """Say why a step is not running now, who or what holds it, and the earliest time it could.

        Raises:
            RunNotFound, StepNotFound: there is none.
        """
        self._parts.check_open()
        run_id, step_id = checked_id("run_id", run_id), checked_id("step_id", step_id)
        live = self._parts.live()
        with self._parts.engine.read() as tx, tx.moment():
            step = self._parts.engine.views.step(tx, run_id, step_id)
            served = {kind for worker in live for kind in worker.kinds if worker.serves(kind, step.queue)}
            here = self._parts.kinds_at_work()
            serving = [worker for worker in live if worker.serves(step.kind, step.queue)]
            is_blocked = step.kind not in here and all(worker.is_blocked for worker in serving)
            blocked = [worker.id for worker in serving] if is_blocked else []
            return explain(self._parts.engine, tx, run_id, step_id, served | here, blocked)
