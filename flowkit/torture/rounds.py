"""One round of torture: runs on a store of its own, worked on until all have ended, disturbed or not."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from flowkit.clock import SECOND, SystemClock
from flowkit.model.run import Run
from flowkit.runtime.runtime import Runtime
from flowkit.store.check import Finding, check, install_guard
from flowkit.torture.cases import Case
from flowkit.torture.child import open_store
from flowkit.torture.facts import RunFacts, facts_of, ran_out
from flowkit.torture.faults import Fault, wrong_clock
from flowkit.torture.fleet import Death, Fleet
from flowkit.torture.nursery import Nursery

LOOK_SECONDS = 0.05
MOST_DEATHS = 5
"""After so many workers that ended by themselves a round is given up."""
MOST_RETRIES = 50
OPEN = ("pending", "running", "canceling")


@attrs.frozen
class Setting:
    """How each round is played.

    Attributes:
        modules: what the workers register.
        cases: what is started, each *copies* times.
        workers: how many processes work.
        lease: seconds.
        patience: seconds without any change after which work is taken for stuck.
    """

    modules: tuple[str, ...]
    cases: tuple[Case, ...]
    copies: int
    workers: int = 3
    lease: float = 1.5
    patience: float = 20.0

    def run_ids(self) -> dict[str, Case]:
        """Return the runs of a round, by id: the same in every round."""
        return {
            f"case-{place + 1}-{copy + 1}": case for copy in range(self.copies) for place, case in enumerate(self.cases)
        }


@attrs.define
class Tally:
    """What was done to the workers."""

    kill: int = 0
    pause: int = 0
    clock: int = 0
    lock: int = 0

    def count(self, kind: str) -> None:
        """Count a fault."""
        setattr(self, kind, getattr(self, kind) + 1)


@attrs.frozen
class Played:
    """What a round came to.

    Attributes:
        runs: those that ended.
        spared: runs whose steps failed for want of attempts, which faults took from them, so that nothing follows.
        stuck: open steps when nothing changed any more, and why they are open.
        deaths: workers that ended by themselves.
        broken: invariants of the store that do not hold.
        damage: what the database finds wrong with its file.
        work: how many seconds the steps took together.
        longest: how many the longest one took.
        lost: attempts that were lost with their worker.
        steps: how many steps there were.
        retries: how often a run had to be retried because faults had used its attempts up.
    """

    runs: dict[str, RunFacts]
    spared: frozenset[str]
    stuck: tuple[tuple[str, str, str], ...]
    deaths: tuple[Death, ...]
    broken: tuple[Finding, ...]
    damage: tuple[str, ...]
    work: float
    longest: float
    lost: int
    steps: int
    retries: int


@attrs.define(eq=False)
class Round:
    """Plays one round in a directory.

    Args:
        calm: what the runs came to undisturbed, where that is known.
    """

    nursery: Nursery
    place: Path
    setting: Setting
    calm: dict[str, RunFacts] = attrs.field(factory=dict)
    _deaths: list[Death] = attrs.field(factory=list)
    _retries: dict[str, int] = attrs.field(factory=dict)
    _clock: SystemClock = attrs.field(factory=SystemClock)

    def play(self, drawn: Iterable[Fault] = (), pace: float = 1.0, tally: Tally | None = None) -> Played:
        """Start every run, work on them under these faults until they have ended, and read what they came to.

        Args:
            pace: seconds from one fault to the next, on average.
            tally: where the faults are counted.
        """
        setting = self.setting
        self.place.mkdir(parents=True)
        with open_store(self.place, modules=setting.modules, lease_duration=setting.lease) as runtime:
            with runtime._parts.engine.write() as tx:
                install_guard(tx)
            for run_id, case in setting.run_ids().items():
                runtime.start_run(case.package, case.input, run_id=run_id)
            with Fleet(self.nursery, self.place, setting.modules, setting.workers, setting.lease) as fleet:
                self._work(runtime, fleet, iter(drawn), pace, tally or Tally())
                # While there are workers: afterwards it would be for want of them that nothing ends.
                stuck = tuple(_stuck(runtime, [run.id for run in self._open(runtime)]))
            return self._played(runtime, stuck)

    def _work(self, runtime: Runtime, fleet: Fleet, faults: Iterator[Fault], pace: float, tally: Tally) -> None:
        setting = self.setting
        seen: object = None
        now = self._clock.monotonic()
        fault, changed_at = next(faults, None), now
        due = now + fault.after * pace if fault is not None else 0.0
        while len(self._deaths) < MOST_DEATHS:
            self._deaths += fleet.look()
            open_runs = [(run.id, run.updated_at, run.steps.open) for run in self._open(runtime)]
            now = self._clock.monotonic()
            if not open_runs:
                fleet.go_on()
                if not self._retry(runtime):
                    return
            if open_runs != seen or self._waits_for_time(runtime):
                seen, changed_at = open_runs, now
            if now - changed_at > setting.patience:
                return
            if fault is not None and now >= due and self._strike(runtime, fleet, fault):
                tally.count(fault.kind)
                fault = next(faults, None)
                # Not faster than workers begin: they would be killed without ever having worked.
                slow = max(pace, 2 * fleet.slowest / setting.workers)
                due = self._clock.monotonic() + (fault.after * slow if fault is not None else 0.0)
            self._wait(LOOK_SECONDS)

    def _open(self, runtime: Runtime) -> Sequence[Run]:
        return runtime.runs(status=OPEN, limit=1000).items

    def _waits_for_time(self, runtime: Runtime) -> bool:
        queues = runtime.queues()
        if any(one.ready or one.running for one in queues) or not any(one.delayed for one in queues):
            return False
        # What has come due and is not leased waits for a slot, which hung executors may hold for ever.
        now, open_ids = self._clock.now(), [run.id for run in self._open(runtime)]
        delayed = (step.ready_at for run_id in open_ids for step in runtime.steps(run_id, status="ready"))
        return any(due is not None and due > now for due in delayed)

    def _retry(self, runtime: Runtime) -> bool:
        """Retry, as an operator would, runs whose attempts the faults used up; says whether there are any."""
        again = [run_id for run_id in self._unlike(runtime) if ran_out(runtime, run_id)]
        for run_id in again:
            self._retries[run_id] = self._retries.get(run_id, 0) + 1
            runtime.retry_run(run_id)
        return bool(again)

    def _unlike(self, runtime: Runtime) -> Iterator[str]:
        for run_id, before in self.calm.items():
            run = runtime.workflow(run_id)
            unlike = run is not None and run.status == "failed" and before.status != "failed"
            if unlike and self._retries.get(run_id, 0) < MOST_RETRIES:
                yield run_id

    def _strike(self, runtime: Runtime, fleet: Fleet, fault: Fault) -> bool:
        working = fleet.working()
        if fault.kind == "lock":
            fleet.go_on()
            with runtime._parts.engine.write():
                self._wait(self.setting.lease * (0.3 + fault.amount))
            return True
        if not working:
            return False
        member = working[int(fault.choice * len(working))]
        if fault.kind == "kill":
            return fleet.kill(member)
        if fault.kind == "pause":
            fleet.pause(member, self.setting.lease * (1.2 + fault.amount))
        else:
            fleet.replace(member, wrong_clock(fault, self.setting.lease))
        return True

    def _wait(self, seconds: float) -> None:
        self._clock.wait(threading.Event(), seconds)

    def _played(self, runtime: Runtime, stuck: tuple[tuple[str, str, str], ...]) -> Played:
        engine = runtime._parts.engine
        with engine.read() as tx:
            damage = tuple(engine.health.damage(tx))
            broken = () if damage else tuple(check(tx, runtime._parts.artifacts))
        known = [run for run_id in self.setting.run_ids() if (run := runtime.workflow(run_id)) is not None]
        ended = [run for run in known if run.is_ended]
        listed = [step for run in known for step in runtime.steps(run.id)]
        took = [step.ended_at - step.started_at for step in listed if step.started_at and step.ended_at]
        lost = [one for step in listed for one in runtime.attempts(step.run_id, step.id) if one.outcome == "lost"]
        return Played(
            runs={run.id: facts_of(runtime, run.id) for run in ended},
            spared=frozenset(run.id for run in ended if self.calm and ran_out(runtime, run.id)),
            stuck=tuple(one for one in stuck if one[0] not in {run.id for run in ended}),
            deaths=tuple(self._deaths),
            broken=broken,
            damage=damage,
            work=sum(took) / SECOND,
            longest=max(took, default=0) / SECOND,
            lost=len(lost),
            steps=len(listed),
            retries=sum(self._retries.values()),
        )


def _stuck(runtime: Runtime, run_ids: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for run_id in run_ids:
        for step in runtime.steps(run_id, status=("running", "ready"), limit=3):
            yield run_id, step.id, runtime.explain(run_id, step.id).text
