"""What is ready for a worker: one look at its lanes, and in each queue the best steps, in order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice

import attrs

from flowkit.model.limits import BACKWARD_TOLERANCE
from flowkit.model.struct import struct
from flowkit.scheduler.choose import Line, in_order, merged
from flowkit.store.database import Session
from flowkit.store.engine import Engine
from flowkit.store.glances import NOTHING, AskedBest, AskedGlance, Candidate, Glance, Lane, nothing
from flowkit.store.keys import run_of
from flowkit.store.lanes import REACH
from flowkit.store.statements import Asked
from flowkit.store.tally import Tally

FARTHEST = 100_000_000
"""Among how many ready steps of a lane those of other runs are looked for at most."""

ASKED = 8
"""In how many lanes a cycle looks at most before it knows that something is ready there."""


@struct
class Demand:
    """What a worker asks of a cycle.

    Attributes:
        slots: how many more attempts it can run.
        kinds: the kinds it serves.
        run: lease steps of this run only.
        skip: steps not to lease in this cycle.
        queues: lease from these queues only.
    """

    slots: int
    kinds: Collection[str]
    run: int | None = None
    skip: Collection[int] = frozenset()
    queues: Collection[str] | None = None


@struct
class Looking:
    """What a cycle asks before it leases.

    Attributes:
        best: by lane, the question for its best steps.
        glance: the question what is ready at all.
    """

    best: Mapping[int, AskedBest]
    glance: AskedGlance

    @property
    def first(self) -> list[Asked]:
        """The statements, in order."""
        return [*(asked for best in self.best.values() for asked in best.first), self.glance.asked]


class Search:
    """Finds what a worker may lease, and remembers what the best of each lane was like."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._heads: dict[int, Candidate] = {}
        self._filled: set[int] = set()
        self._reach: dict[str, int] = {}
        # Of the pass at hand: what each lane gave, which a look beside busy runs goes on from.
        self._found: dict[int, Sequence[Candidate]] = {}

    def locked_lines(self, tx: Session, demand: Demand, seen: Glance, tally: Tally) -> list[Line]:
        """Return what may be started, and let nobody else start it from queues that have limits."""
        queues = self._engine.queues.lock(tx, seen.queues)
        # What was found before is not what there is after waiting for a queue.
        lines = self.lines(tx, demand, seen if queues is None else attrs.evolve(seen, queues=queues, found={}))
        if queues is not None:
            # Time passed while another worker had them. What starts now is later than what it started, and than the
            # end of what made room: by the one clock that all of them have, and as their histories say.
            refilled = [queue.bucket.refilled_at for queue in queues.values() if queue.bucket is not None]
            now = max(tally.now, tx.exact_now())
            tally.now = max(now, *(at for at in refilled if at - now < BACKWARD_TOLERANCE), now)
        return lines

    def looking(self, demand: Demand, mine: int | None, *, settles: bool) -> Looking:
        """Return what is asked before something is leased.

        Args:
            mine: the key of a run that the worker has locked, or will have.
            settles: whether outcomes are settled before, after which it is likely that more is ready where more was.
        """
        # The lanes that were ready the last time most likely are again: what is found there then comes with the glance.
        # Of equal steps a worker takes those of a run that it has locked: workers at different runs wait for nobody.
        lanes, most = self._engine.lanes, demand.slots + len(demand.skip)
        heads = {} if demand.run is not None else self._heads
        asked = {lane: head for lane, head in heads.items() if not settles or lane in self._filled}
        best = {lane: lanes.asking_best(lane, most, head, mine) for lane, head in asked.items()}
        return Looking(best, lanes.asking(demand.kinds, demand.queues))

    def ready(self, tx: Session, demand: Demand, tally: Tally, looking: Looking | None) -> Glance:
        """Look what is ready, steps included that come due just now.

        Args:
            looking: what was asked already, if nothing has become ready since except by way of its dependencies.
        """
        lanes = self._engine.lanes
        asked = looking or self.looking(demand, max(tally.mine, default=None), settles=False)
        found = {lane: best.ask(tx) for lane, best in asked.best.items()}
        coming = _coming(demand, tally) if tally.waiters else NOTHING
        seen = lanes.glance(tx, demand.kinds, demand.queues, coming, asked.glance)
        if seen.due_at is not None and seen.due_at <= tally.now:
            self._engine.reclaim.come_due(tx, tally.now)
            seen, found = lanes.glance(tx, demand.kinds, demand.queues, coming), {}
        if found:
            seen.found.update({lane: best for lane, best in found.items() if lane not in seen.found})
        if tally.waiters and (at := tally.waiters.due_at(tally.now)) is not None:
            # What the transaction makes ready with a delay is not stored yet.
            seen = attrs.evolve(seen, due_at=at if seen.due_at is None else min(at, seen.due_at))
        return seen

    def lines_beside(self, tx: Session, demand: Demand, seen: Glance, busy: Collection[int]) -> list[Line]:
        """Return what ``lines`` does without the steps of runs that others are at, as far as that is looked for.

        They may be at them for long, as where a program keeps its own transaction open, so where nothing was found in a
        queue it is looked for among more of its steps the next time.
        """
        lines = self.lines(tx, demand, seen, busy)
        for line in lines:
            if not line.candidates:
                name = line.queue.name
                self._reach[name] = min(4 * self._reach.get(name, REACH), FARTHEST)
        return lines

    def note_free(self, queues: Iterable[str]) -> None:
        """Take note that nobody is at the run of a step that was chosen from each of these queues."""
        for name in queues if self._reach else ():
            self._reach.pop(name, None)

    def lines(self, tx: Session, demand: Demand, seen: Glance, beside: Collection[int] = ()) -> list[Line]:
        """Return each queue with the best of its ready steps.

        Args:
            beside: leave out steps of these runs.
        """
        engine, queues = self._engine, seen.queues
        by_queue: dict[str, list[Lane]] = {}
        for lane in seen.served:
            by_queue.setdefault(lane.queue, []).append(lane)
        limits = any(queue.max_workers is not None for queue in queues.values())
        in_flight = engine.queues.in_flight(tx) if limits else {}
        lines: list[Line] = []
        heads: dict[int, Candidate] = {}
        if not beside:
            self._found = {}
        for name, members in by_queue.items():
            found = [self._best(tx, lane, demand, seen, beside) for lane in members]
            heads |= {lane.id: best[0] for lane, best in zip(members, found) if best}
            fresh = [c for c in merged(found) if c.key not in demand.skip]
            lines.append(Line(queues[name], in_flight.get(name, 0), fresh))
        if not engine.db.dialect.one_writer:
            self._filled = {lane.id for lane in seen.served if seen.found.get(lane.id) is not nothing}
            if heads:
                # Kept also while nothing is ready: what comes next is most likely of the same lanes.
                self._heads = dict(islice(heads.items(), ASKED))
        return lines

    def _best(
        self, tx: Session, lane: Lane, demand: Demand, seen: Glance, beside: Collection[int]
    ) -> Sequence[Candidate]:
        most = demand.slots + len(demand.skip)
        if beside:
            stored: Sequence[Candidate] = self._beside(tx, lane, most, beside)
        elif lane.id in seen.found:
            stored = seen.found[lane.id]()
        else:
            stored = self._engine.lanes.candidates(tx, lane.id, most, demand.run)
        self._found[lane.id] = stored
        coming = seen.coming.get(lane.id)
        return merged([stored, coming]) if stored and coming else coming or stored

    def _beside(self, tx: Session, lane: Lane, most: int, runs: Collection[int]) -> Sequence[Candidate]:
        # What was found before of other runs stays, the worker's own first. Of what comes before the last step that was
        # found of these runs nothing is unknown.
        found = self._found.get(lane.id, ())
        kept = [candidate for candidate in found if run_of(candidate.key) not in runs]
        passed = max((candidate for candidate in found if run_of(candidate.key) in runs), default=None)
        if passed is None:
            return kept
        reach = self._reach.get(lane.queue, REACH)
        return list(dict.fromkeys([*kept, *self._engine.lanes.beside(tx, lane.id, most, runs, reach, passed)]))


def _coming(demand: Demand, tally: Tally) -> dict[int, list[Candidate]]:
    """Return, by lane, the steps that the transaction makes ready and may lease, best first."""
    coming: dict[int, list[Candidate]] = {}
    for waiter in tally.waiters.due():
        if demand.run is None or run_of(waiter.key) == demand.run:
            coming.setdefault(waiter.lane, []).append(Candidate(waiter.priority, tally.now, waiter.key))
    for candidates in coming.values():
        candidates.sort(key=in_order)
    return coming
