"""One pass of the scheduler: settle what came back, reclaim, promote, choose, lease; all in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.errors import RuntimeClosed, StoreError
from flowkit.model.events import Event
from flowkit.model.outcome import Failed, StepError
from flowkit.model.step import LeasedStep, Settlement
from flowkit.scheduler.choose import Line, Turns, choose, limited, next_tokens
from flowkit.scheduler.opening import FEW, Opening
from flowkit.scheduler.owed import Owed
from flowkit.scheduler.search import Demand, Looking, Search
from flowkit.scheduler.sweep import Sweeper
from flowkit.scheduler.turned import Taken, Turned
from flowkit.store.database import Session
from flowkit.store.engine import Engine
from flowkit.store.glances import Lane
from flowkit.store.grants import Claim, Grant
from flowkit.store.keys import run_of
from flowkit.store.tally import Tally

ROUNDS = 4
"""How often a turn looks past the runs that others are at; behind them may be more such."""


class Cycle:
    """Turns the wheel for one worker; it keeps no state that a crash could lose.

    Attributes:
        owed: what is leased, but not in flight yet.

    Args:
        worker_id: who leases.
        lease: for how long, in microseconds.
        token: draws a new token for each cycle.
    """

    def __init__(self, engine: Engine, worker_id: str, lease: Micros, token: Callable[[], str]) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._lease = lease
        self._token = token
        self._turns = Turns()
        self._sweeper = Sweeper(engine, lease)
        self._search = Search(engine)
        self.owed = Owed(engine)
        self.listening = True

    def turn(self, inbox: Sequence[Settlement], demand: Demand) -> Turned:
        """Settle what came back and lease what is next; should the batch be refused, settle it one by one.

        Raises:
            StoreError: the store cannot be written now, and nothing of it was; or somebody changed out of turn what was
                leased, which is left to expire. The same may be tried again: what was settled already is told so.
        """
        try:
            turned = self._turn(inbox, demand)
        except (StoreError, RuntimeClosed):
            raise
        except Exception:
            if not inbox:
                raise
            turned = self._one_by_one(inbox, demand)
        # What is committed is no outcome that was refused, whatever happens from here on.
        self._load_owed(turned)
        if turned.left:
            self._sweep_waiting(turned)
        return turned

    def _one_by_one(self, inbox: Sequence[Settlement], demand: Demand) -> Turned:
        # There are no savepoints: the batch is rolled back, and an outcome that cannot be written takes no other along.
        # Nothing is reclaimed meanwhile: it might be the lease of an outcome that is in hand.
        none, turned = attrs.evolve(demand, slots=0), Turned()
        for settlement in inbox:
            try:
                turned.add(self._turn([settlement], none, sweeps=False))
            except (StoreError, RuntimeClosed):
                raise
            except Exception as refused:
                # A store that was brought to a newer version meanwhile refuses what is no fault of the outcome.
                self._engine.check_version()
                told = StepError(
                    "unsettleable", f"{type(refused).__name__}: {refused}", occurred_at=settlement.ended_at
                )
                failed = attrs.evolve(settlement, outcome=Failed(told), progress=None)
                turned.add(self._turn([failed], none, sweeps=False))
        turned.add(self._turn([], demand))
        return turned

    def _turn(self, inbox: Sequence[Settlement], demand: Demand, *, sweeps: bool = True) -> Turned:
        engine, turned = self._engine, Turned()
        opening = Opening(engine, self._search, inbox, demand)
        # A large pass keeps its processor and the server busy as it is: what it asks first is sent together.
        with engine.write(opening if len(inbox) <= FEW else list(opening)) as tx:
            batch, looking = opening.made()
            tally = Tally(tx.now(), worker_id=self._worker_id, listening=self.listening)
            if batch is not None:
                settled = engine.outcomes.settle(tx, batch, tally)
                turned.settlements, turned.verdicts, turned.moves = inbox, settled.verdicts, settled.moves
            left = self._sweeper.sweep(tx, tally) if sweeps else False
            taken = self._take(tx, demand, tally, None if tally.stirred else looking)
            turned.events = engine.history.close(tx, tally)
        turned.promoted, turned.left = tally.promoted, left
        self._accept(taken, turned)
        return turned

    def join(self, tx: Session, demand: Demand, tally: Tally) -> Taken:
        """Lease what is next in a transaction that somebody else has begun, and closes."""
        tally.worker_id = self._worker_id
        self._sweeper.keep_time(tx, tally)
        return self._take(tx, demand, tally)

    def hand_out(self, taken: Taken, turned: Turned) -> None:
        """Read what was leased, and what could not be read before, after the commit; raises what ``turn`` does."""
        self._accept(taken, turned)
        self._load_owed(turned)

    def _accept(self, taken: Taken, turned: Turned) -> None:
        turned.due_at, turned.limited, turned.contended = taken.due_at, taken.limited, taken.contended
        if taken.grant is not None:
            self.owed.committed(taken.grant)

    def _load_owed(self, turned: Turned) -> None:
        try:
            for grant, leased, is_news in self.owed.load():
                turned.leased += leased
                if self.listening and is_news:
                    rows = zip(leased, grant.taken.held)
                    turned.events += [_leased_event(step, row.ready_at, grant.now) for step, row in rows]
        except StoreError as error:
            turned.refused = error

    def look(self, demand: Demand) -> tuple[bool, Micros | None, dict[str, Micros]]:
        """Say, with reads alone, whether a turn would do anything now; if not, when; and which buckets hold it up."""
        engine = self._engine
        if self.owed.count:
            return True, engine.db.clock.now(), {}
        with engine.read() as tx:
            now = tx.now()
            seen = engine.lanes.glance(tx, demand.kinds, demand.queues)
            # What comes due while no slot is free comes due when one is.
            times = (seen.due_at if demand.slots else None, self._sweeper.next_at(seen, now))
            if any(at is not None and at <= now for at in times):
                return True, now, {}
            lines = self._search.lines(tx, demand, seen) if demand.slots else []
        if any(line.room(now) for line in lines):
            return True, now, {}
        held = limited(lines, now)
        later = [at for at in (*times, *held.values()) if at is not None]
        return False, min(later, default=None), held

    def _sweep_waiting(self, turned: Turned) -> None:
        # A run that is never free when it is asked for would keep its lost steps for ever, so now its turn is waited
        # for: in a transaction that holds nothing meanwhile. What the pass has done before is committed all the same.
        engine = self._engine
        try:
            with engine.write() as tx:
                tally = Tally(tx.now(), worker_id=self._worker_id, listening=self.listening)
                self._sweeper.take_back(tx, tally, waits=True)
                events = engine.history.close(tx, tally)
        except StoreError:
            return
        turned.promoted += tally.promoted
        turned.events += events

    def _take(self, tx: Session, demand: Demand, tally: Tally, looking: Looking | None = None) -> Taken:
        if not demand.slots:
            return Taken()
        seen = self._search.ready(tx, demand, tally, looking)
        lines = self._search.locked_lines(tx, demand, seen, tally)
        later = (seen.due_at, next_tokens(lines, tally.now))
        chosen = choose(lines, demand.slots, self._turns, tally.now)
        if not chosen:
            return Taken(None, *later)
        # Other runs are locked already, so this may not wait for more: what is not free is left for the next turn.
        wanted = {run_of(candidate.key) for _, candidate in chosen}
        free = self._claim(tx, wanted, tally)
        busy = wanted - free
        self._search.note_free({name for name, candidate in chosen if run_of(candidate.key) in free})
        behind, rounds = set(busy), ROUNDS if demand.run is None else 0
        while behind and rounds:
            # The best steps are of runs that others are at; behind them may be runs that nobody is at.
            seen = attrs.evolve(seen, queues={**seen.queues, **{line.queue.name: line.queue for line in lines}})
            lines = self._search.lines_beside(tx, demand, seen, busy)
            chosen = choose(lines, demand.slots, self._turns, tally.now)
            wanted = {run_of(candidate.key) for _, candidate in chosen}
            free |= self._claim(tx, wanted, tally)
            behind, rounds = wanted - free, rounds - 1
            busy |= behind
        keys = [candidate.key for _, candidate in chosen if run_of(candidate.key) in free]
        grant = self._grant(tx, keys, {lane.id: lane for lane in seen.ready}, tally) if keys else None
        if grant is not None:
            self._spend(tx, lines, [grant.lanes[row.lane].queue for row in grant.taken.held], tally.now)
        # What somebody else took meanwhile may have kept this worker from what comes behind it.
        missed = len(chosen) > (len(grant.taken.held) if grant is not None else 0)
        return Taken(grant, *later, contended=bool(busy) or missed)

    def _grant(self, tx: Session, keys: Sequence[int], lanes: dict[int, Lane], tally: Tally) -> Grant | None:
        leases, claim = self._engine.leases, Claim(self._worker_id, self._token(), self._lease)
        specs = leases.ask(tx, keys, tally)
        taken = leases.take(tx, keys, claim, tally)
        if not taken.held:
            return None
        grant = Grant(taken, claim, lanes, tally.now, specs, tally.results)
        self.owed.note(grant)
        return grant

    def _claim(self, tx: Session, wanted: set[int], tally: Tally) -> set[int]:
        if others := wanted - tally.mine.keys():
            tally.mine |= self._engine.runs.claim(tx, others)
        return wanted & tally.mine.keys()

    def _spend(self, tx: Session, lines: Sequence[Line], started: Sequence[str], now: Micros) -> None:
        # Tokens are taken only for the rows that the lease really got.
        buckets = [(line.queue.name, line.queue.bucket) for line in lines if line.queue.bucket is not None]
        spent = [(name, bucket.refill(now).take(started.count(name))) for name, bucket in buckets if name in started]
        self._engine.queues.spend(tx, spent)


def _leased_event(step: LeasedStep, ready_at: Micros, now: Micros) -> Event:
    known: dict[str, Any] = {"run_id": step.run_id, "step_id": step.id, "kind": step.kind, "queue": step.queue}
    waited = {"wait": max(0, now - ready_at)}
    return Event("step_leased", now, attempt=step.attempt, worker_id=step.lease.worker_id, fields=waited, **known)
