"""The world: true time, who acts next, what goes wrong; one thread, and nothing in it that a seed does not decide."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Generator, Sequence
from typing import Any

import attrs

from flowkit.clock import SECOND, Micros, micros
from tests.simulation.choices import EVERYTHING, Choices, Cuts, Faults
from tests.simulation.clocks import DRIFT, WRONG
from tests.simulation.ending import judge_the_end
from tests.simulation.host import LEASE, Host
from tests.simulation.judge import Judge
from tests.simulation.operators import Client
from tests.simulation.stage import Stage
from tests.simulation.wire import Crashed, Planted

Life = Generator[float, None, None]
"""Somebody who acts, and between two acts says how many seconds the next one is away."""

CHAOS = 150.0
"""Seconds of true time in which things go wrong."""

PATIENCE = 5_000.0
"""Seconds after which a world in which nothing goes wrong any more must have come to rest."""


class Violation(BaseException):
    """Something that may never be, was; no code of the engine may catch it."""


@attrs.define(eq=False)
class Actor:
    """A life on a host; it ends with the process it is part of."""

    host: Host
    life: Life
    incarnation: int
    at: Micros = 0
    waits: bool = True


class World:
    """One simulation of one seed."""

    chaos = CHAOS

    def __init__(self, stage: Stage, seed: int, cuts: Cuts = EVERYTHING, *, watchful: bool | None = None) -> None:
        self.seed = seed
        self.choices = Choices(seed, cuts)
        self.faults = Faults(self.choices)
        self.stage = stage
        self.time: Micros = 0
        self.failure: str | None = None
        self.trace: list[str] = []
        self.commits = self.statements = self.checks = self.steps = 0
        self._queue: list[tuple[Micros, int, Actor]] = []
        self._graves: list[Actor] = []
        self._tie = 0
        self._depth = 0
        # Every invariant after every commit costs as much as the rest: some worlds are watched like that.
        self.watchful = seed % 20 == 0 if watchful is None else watchful
        random.seed(seed)  # the jitter of back-offs is drawn from the module's own stream
        stage.reset(self)
        self.judge = Judge(self)
        self.client = self._client()
        self.workers = stage.workers[: self.choices.of("world").choice((1, 2, 2, 3))]

    def _client(self) -> Client:
        return Client(self, self.stage.client)

    def run(self) -> None:
        """Let the world go on until everything has ended.

        Raises:
            Violation: a promise was broken; ``failure`` says which.
        """
        self._prepare()
        self._run_until(micros(self.chaos))
        self.faults.on = False
        self._calm_down()
        deadline = self.time + micros(PATIENCE)
        while self.failure is None and not (self.judge.is_at_rest() and self.client.is_done):
            if self.time > deadline:
                self.fail(f"no rest {PATIENCE:.0f} s after the last fault: {self.judge.open_steps()}")
            self._run_until(self.time + micros(5))
            self.judge.expect_progress(self.time)
        if self.failure is None:
            judge_the_end(self)
        if self.failure is not None:
            raise Violation(self.failure)

    def _prepare(self) -> None:
        draw = self.choices.of("world")
        self.faults.injected["drift"] += self.faults.has("drift")
        for host in (*self.workers, self.stage.client):
            drifts = self.faults.has("drift")
            apart = (draw.uniform(-WRONG, WRONG), draw.uniform(-DRIFT, DRIFT)) if drifts else (0.0, 0.0)
            host.clock.reset(*apart)
        self.spawn(self.stage.client, self._set_clocks(), draw.uniform(0, 10), waits=False)
        for host in self.workers:
            self.spawn(host, host.boot(), draw.uniform(0, 3), waits=False)
            self.spawn(host, self._trouble(host), draw.uniform(0, 10), waits=False)
        self.client.begin()

    def spawn(self, host: Host, life: Life, after: float = 0.0, *, waits: bool = True) -> Actor:
        """Let somebody live on a host from *after* seconds on; who does not wait acts whatever state the host is in."""
        actor = Actor(host, life, host.incarnation, waits=waits)
        self.schedule(actor, after)
        return actor

    def schedule(self, actor: Actor, after: float) -> None:
        """Let an actor act in *after* seconds, no later."""
        actor.at = self.time + max(0, micros(after))
        self._tie += 1
        heapq.heappush(self._queue, (actor.at, self._tie, actor))

    def _run_until(self, until: Micros) -> None:
        while self._queue and self._queue[0][0] <= until and self.failure is None:
            at, _, actor = heapq.heappop(self._queue)
            if at == actor.at:
                self._set_time(max(self.time, at))
                self._act(actor)
        self._set_time(max(self.time, until))

    def _set_time(self, time: Micros) -> None:
        self.time = time
        for host in (*self.stage.workers, self.stage.client):
            host.clock.true = time

    def _act(self, actor: Actor) -> None:
        host = actor.host
        if actor.waits:
            if actor.incarnation != host.incarnation:
                # Kept, for a dead process does not tidy up; a generator that is let go would.
                self._graves.append(actor)
                return
            if host.inside or host.paused_until > self.time:
                # A process that stands still in the middle of something does nothing else meanwhile.
                self.schedule(actor, max((host.paused_until - self.time) / SECOND, 0.01))
                return
        host.inside += actor.waits
        try:
            self.steps += 1
            self.schedule(actor, next(actor.life))
        except StopIteration:
            pass
        except Crashed:
            self.note(host, "is dead")
        except Planted:
            host.crash("a planted refusal nobody handles")
        except Violation:
            pass
        except Exception as error:
            self.fail(f"{host.name}: {type(error).__name__} escaped: {error}", error)
        finally:
            host.inside -= actor.waits

    def moment(self, host: Host) -> None:
        """Pass a moment at which a process may stand still, or die, while the others go on."""
        if self.failure is not None:
            raise Violation(self.failure)
        if self._depth >= 2 or not host.inside:
            return
        if self.faults.strikes("crash", 0.001):
            host.crash("between two statements")
            raise Crashed
        draw = self.choices.of("moments")
        if draw.random() < 0.02:
            self._meanwhile(draw.choice((0.05, 0.5, 3.0)))
        if self.faults.strikes("pause", 0.002):
            self._meanwhile(draw.choice((0.4, 1.1, 2.5, 5.0)) * LEASE)

    def _meanwhile(self, seconds: float) -> None:
        self._depth += 1
        try:
            self._run_until(self.time + micros(seconds))
        finally:
            self._depth -= 1
        if self.failure is not None:
            raise Violation(self.failure)

    def _trouble(self, host: Host) -> Life:
        draw = self.choices.of(f"trouble {host.name}")
        while self.faults.on:
            if self.faults.strikes("crash", 0.06):
                host.crash("out of the blue")
            if self.faults.strikes("stop", 0.05) and host.is_up:
                host.stops = True
            if self.faults.strikes("pause", 0.05):
                host.paused_until = self.time + micros(draw.choice((0.5, 1.2, 3, 5)) * LEASE)
                self.note(host, "stands still")
            if self.faults.strikes("apart", 0.04):
                self._set_clock(draw, (-300, -60, -15, 15, 60, 300), [host])
                self.judge.clocks_agree = False
            if self.faults.strikes("down", 0.05):
                host.unreachable_until = self.time + micros(draw.choice((2, 20, 60)))
                self.note(host, "cannot reach the store")
            yield draw.uniform(3, 12)

    def _set_clocks(self) -> Life:
        # Processes on one file share a machine, and so its clock.
        draw = self.choices.of("clocks")
        while self.faults.on:
            if self.faults.strikes("step", 0.08):
                self._set_clock(draw, (-3600, -120, -20, -3, 3, 20, 120, 3600), (*self.workers, self.stage.client))
            yield draw.uniform(3, 12)

    def _set_clock(self, draw: random.Random, by: Sequence[int], hosts: Sequence[Host]) -> None:
        seconds = draw.choice(by) * draw.uniform(0.5, 1.5)
        for host in hosts:
            host.clock.step(seconds)
            self.note(host, f"clock set by {seconds:.0f} s")
        self.judge.clocks_are_honest = False
        if seconds > 0:
            self.judge.queues.clocks_jumped()

    def _calm_down(self) -> None:
        self.note(self.stage.client, "nothing goes wrong any more")
        for host in (*self.workers, self.stage.client):
            host.paused_until = host.unreachable_until = 0
            host.newer_code_only = True
            if host.is_up and host.is_older:
                host.stops = True
        self.judge.calm_since = self.time

    def committed(self, host: Host) -> None:
        """A transaction was committed: what it changed is judged at once."""
        self.commits += 1
        self.judge.commit(host)
        if self.watchful and self.failure is None:
            self.check_invariants()

    def check_invariants(self) -> None:
        """Ask every invariant of the whole store."""
        self.checks += 1
        for finding in self.stage.findings():
            self.fail(f"invariant {finding}")

    def dies_at(self, boundary: str) -> bool:
        """Whether a process dies exactly here; for worlds that try one moment after the other."""
        return False

    def note(self, host: Host, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.time / SECOND:10.3f} {host.name:7} {text}")

    def fail(self, text: str, error: BaseException | None = None) -> None:
        """Remember the first promise that was broken, and end the world."""
        if self.failure is None:
            self.failure = text
            self.error: Any = error
            self.trace.append(f"{self.time / SECOND:10.3f} BROKEN  {text}")
        raise Violation(self.failure)

    def bury(self) -> None:
        """End all that is left of it now; else the garbage collector does, in the middle of the next world."""
        for actor in [*self._graves, *(actor for _, _, actor in self._queue)]:
            actor.life.close()

    def fingerprint(self) -> str:
        """Return a hash of everything that happened, and of what is stored in the end."""
        told = hashlib.sha256("\n".join(self.trace).encode())
        told.update(self.stage.dump().encode())
        return told.hexdigest()
