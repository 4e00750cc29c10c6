"""Drives a store as a Runtime would: starts runs from plans, leases steps, settles them; every event is kept."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from flowkit.clock import Micros, micros
from flowkit.model.events import Event
from flowkit.model.outcome import Failed, Outcome, Retried, StepError, Succeeded
from flowkit.model.outputs import NewArtifact, NewRecord, Progress
from flowkit.model.plan import Edge, Plan, StepSpec
from flowkit.model.step import LeasedStep, Settlement
from flowkit.scheduler.cycle import Cycle
from flowkit.scheduler.search import Demand
from flowkit.scheduler.turned import Turned
from flowkit.store.closing import Verdict
from flowkit.store.engine import Engine
from flowkit.store.runs import NewRun
from flowkit.store.tally import Tally
from tests.store.clock import FakeClock

LEASE_SECONDS = 30


def step(id: str, kind: str = "work", data: Any = None, *, dedup_key: str | None = None, **options: Any) -> StepSpec:
    """Make a step whose input is *data*."""
    return StepSpec(kind, (id,), (json.dumps(data).encode(),), dedup_keys=dedup_key and (dedup_key,), **options)


def plan(*steps: StepSpec, after: dict[str, Sequence[str]] | None = None, **more: Any) -> Plan:
    """Make a plan; *after* says, by id, which steps a step requires: ``after={"index": ["page[0]", "page[1]"]}``."""
    places = {id: place for place, id in enumerate(Plan(steps).ids)}
    edges = [Edge(places[w], places.get(t, t)) for w, targets in (after or {}).items() for t in targets]
    return Plan(steps, edges=(*edges, *more.pop("edges", ())), **more)


def success(value: Any = None, **effects: Any) -> Succeeded:
    """Make the outcome of an attempt that returned *value*; None is no result at all."""
    if value is None:
        return Succeeded(**effects)
    body = json.dumps(value).encode()
    return Succeeded(body, hashlib.sha256(body).digest(), **effects)


def failure(code: str = "broken", message: str = "it broke") -> Failed:
    """Make the outcome of an attempt that failed for good."""
    return Failed(StepError(code, message))


def again(code: str = "busy", message: str = "try again", seconds: float = 0) -> Retried:
    """Make the outcome of an attempt that is to be repeated."""
    return Retried(StepError(code, message, retryable=True), micros(seconds))


def record(collection: str, key: str, data: Any) -> NewRecord:
    """Make a record."""
    return NewRecord(collection, key, json.dumps(data).encode())


def artifact(id: str, body: bytes, *, name: str | None = None, external: bool = False, **more: Any) -> NewArtifact:
    """Make an artifact; an external one leaves its bytes out and is named by their hash."""
    digest = hashlib.sha256(body).digest()
    kind = "external-artifact-ref" if external else "inline-artifact"
    identity = (f"sha256-{digest.hex()}" if external else id, name or id, more.pop("kind", kind))
    return NewArtifact(*identity, more.pop("content_type", None), len(body), digest, None if external else body, **more)


class Flow:
    """One store under test, with its clock, its workers and what they were told."""

    def __init__(self, engine: Engine, clock: FakeClock) -> None:
        self.engine = engine
        self.clock = clock
        self.events: list[Event] = []
        self._cycles: dict[str, Cycle] = {}
        self._tokens = itertools.count(1)
        self._run_ids = itertools.count(1)

    def start(self, *steps: StepSpec | Plan, run_id: str | None = None, **known: Any) -> str:
        """Store a run of a plan, or of steps that wait for nothing, and return its id.

        Args:
            known: ``package``, ``name``, ``metadata`` (a dict), ``data`` (the input), ``output`` (as it is stored).
        """
        new, whole = self._new(steps, run_id, known)
        with self.engine.write() as tx:
            tally = Tally(tx.now())
            self.engine.starts.add(tx, [(new, whole)], tally)
            self.events += self.engine.history.close(tx, tally)
        return new.id

    def start_and_lease(
        self,
        *steps: StepSpec | Plan,
        slots: int = 64,
        kinds: Collection[str] = ("work",),
        stored_first: bool = False,
        wait: Micros = 0,
        **known: Any,
    ) -> Turned:
        """Store a run and lease what is next in one transaction, as a start does beside a worker that rests.

        Args:
            stored_first: nobody is told, while the run is stored, that somebody leases.
            wait: how long it takes until it is known what may be leased, as where another worker has the queue locked.
        """
        new, whole = self._new(steps, known.pop("run_id", None), known)
        cycle, turned = self.cycle(), Turned()
        with self.engine.write() as tx:
            tally = Tally(tx.now())
            self.engine.starts.add(tx, [(new, whole)], tally, leases=not stored_first)
            tally.now += wait
            taken = cycle.join(tx, Demand(slots, kinds), tally)
            self.events += self.engine.history.close(tx, tally)
        cycle.hand_out(taken, turned)
        cycle.owed.launched()
        self.events += turned.events
        return turned

    def _new(
        self, steps: Sequence[StepSpec | Plan], run_id: str | None, known: Mapping[str, Any]
    ) -> tuple[NewRun, Plan]:
        first = steps[0]
        whole = first if isinstance(first, Plan) else Plan(tuple(one for one in steps if isinstance(one, StepSpec)))
        body = json.dumps(known.get("data", {})).encode()
        metadata = json.dumps(known.get("metadata", {}))
        content = (metadata, body, hashlib.sha256(body).digest(), known.get("output"))
        names = (known.get("package", "package"), known.get("name"))
        return NewRun(run_id or f"run-{next(self._run_ids)}", *names, *content), whole

    def cycle(self, worker: str = "worker") -> Cycle:
        """Return the cycle of a worker; a second one of that name is the same."""
        if worker not in self._cycles:
            token = lambda: f"token-{next(self._tokens)}"  # noqa: E731
            self._cycles[worker] = Cycle(self.engine, worker, micros(LEASE_SECONDS), token)
        return self._cycles[worker]

    def turn(
        self,
        inbox: Sequence[Settlement] = (),
        *,
        slots: int = 64,
        worker: str = "worker",
        kinds: Collection[str] | None = None,
        run: str | None = None,
    ) -> Turned:
        """Make one turn of a worker that serves *kinds*, by default all there are."""
        demand = Demand(slots, self.kinds() if kinds is None else kinds, self.key(run) if run else None)
        cycle = self.cycle(worker)
        turned = cycle.turn(inbox, demand)
        cycle.owed.launched()
        self.events += turned.events
        return turned

    def kinds(self) -> list[str]:
        """Return every kind that a step was ever stored with."""
        with self.engine.read() as tx:
            return [row[0] for row in tx.script("SELECT DISTINCT kind FROM lanes")]

    def key(self, run_id: str) -> int:
        """Return the key of a run."""
        with self.engine.read() as tx:
            found = self.engine.runs.find(tx, run_id)
        assert found is not None, f"no run {run_id!r}"
        return found.key

    def lease(self, slots: int = 64, **options: Any) -> list[LeasedStep]:
        """Lease what is ready."""
        return self.turn(slots=slots, **options).leased

    def lease_one(self, **options: Any) -> LeasedStep:
        """Lease exactly one step."""
        leased = self.lease(1, **options)
        assert len(leased) == 1, "no step is ready"
        return leased[0]

    def settle(self, leased: LeasedStep, outcome: Outcome, *, progress: Progress | None = None) -> Verdict:
        """Settle one attempt now, as the worker that leased it, and lease nothing."""
        settlement = Settlement(leased, outcome, self.clock.now(), progress)
        return self.turn([settlement], slots=0, worker=leased.lease.worker_id).verdicts[0]

    def do(self, outcome: Outcome | None = None, **options: Any) -> LeasedStep:
        """Lease one step and settle it, as a success where nothing else is said; returns the step."""
        leased = self.lease_one(**options)
        self.settle(leased, outcome if outcome is not None else success())
        return leased

    def finish(self, decide: Callable[[LeasedStep], Outcome] = lambda leased: success()) -> list[str]:
        """Attempt whatever is ready until nothing is, settled as *decide* says; returns the steps in order."""
        done: list[str] = []
        inbox: list[Settlement] = []
        while True:
            leased = self.turn(inbox).leased
            if not leased:
                return done
            done += [one.id for one in leased]
            inbox = [Settlement(one, decide(one), self.clock.now()) for one in leased]

    def cancel(self, run_id: str) -> list[Event]:
        """Cancel a run."""
        return self._command(lambda tx, tally: self.engine.commands.cancel_run(tx, run_id, tally))

    def retry_step(self, run_id: str, step_id: str, *, force: bool = False) -> list[Event]:
        """Give a step a fresh budget, as an operator."""
        return self._command(lambda tx, tally: self.engine.commands.retry_step(tx, run_id, step_id, tally, force=force))

    def retry_run(self, run_id: str) -> list[Event]:
        """Give the dead steps of a run a fresh budget, as an operator."""
        return self._command(lambda tx, tally: self.engine.commands.retry_run(tx, run_id, tally))

    def _command(self, call: Callable[[Any, Tally], list[Event]]) -> list[Event]:
        with self.engine.write() as tx:
            events = call(tx, Tally(tx.now()))
        self.events += events
        return events
