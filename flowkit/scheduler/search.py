"""What is ready for a worker: one look at its lanes, and in each queue the best steps, in order."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

import attrs

from flowkit.model.limits import BACKWARD_TOLERANCE
from flowkit.scheduler.choose import Line, merged
from flowkit.store.database import Session
from flowkit.store.engine import Engine
from flowkit.store.lanes import Candidate, Glance, Lane
from flowkit.store.tally import Tally

ASKED = 8
"""In how many lanes a cycle looks at most before it knows that something is ready there."""


@attrs.frozen
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


class Search:
    """Finds what a worker may lease, and remembers what the best of each lane was like."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._heads: dict[int, Candidate] = {}

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

    def ready(self, tx: Session, demand: Demand, tally: Tally) -> Glance:
        """Look what is ready, steps included that come due just now."""
        lanes, most = self._engine.lanes, demand.slots + len(demand.skip)
        # The lanes that were ready the last time most likely are again: what is found there then comes with the glance.
        # Of equal steps a worker takes those of a run that it has locked: workers at different runs wait for nobody.
        heads, mine = {} if demand.run is not None else self._heads, max(tally.mine, default=None)
        asked = {lane: lanes.ask(tx, lane, most, head, mine) for lane, head in heads.items()}
        seen = lanes.glance(tx, demand.kinds, demand.queues)
        if seen.due_at is not None and seen.due_at <= tally.now:
            self._engine.reclaim.come_due(tx, tally.now)
            seen, asked = lanes.glance(tx, demand.kinds, demand.queues), {}
        return attrs.evolve(seen, found=asked)

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
        most = demand.slots + len(demand.skip)
        lines: list[Line] = []
        heads: dict[int, Candidate] = {}
        for name, members in by_queue.items():
            found = [
                seen.found[lane.id]()
                if lane.id in seen.found and not beside
                else engine.lanes.candidates(tx, lane.id, most, demand.run, beside)
                for lane in members
            ]
            heads |= {lane.id: candidates[0] for lane, candidates in zip(members, found) if candidates}
            fresh = [c for c in merged(found) if c.key not in demand.skip]
            lines.append(Line(queues[name], in_flight.get(name, 0), fresh))
        if heads and not engine.db.dialect.one_writer:
            # Kept also while nothing is ready: what comes next is most likely of the same lanes.
            self._heads = dict(islice(heads.items(), ASKED))
        return lines
