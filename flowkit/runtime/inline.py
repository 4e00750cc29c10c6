"""Passes made in the calling thread: one attempt after another, in an order that is always the same."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

import attrs

from flowkit.clock import Micros
from flowkit.errors import StoreError
from flowkit.model.moves import DISCARD, FAIL, RETRY, SUCCEED, Move
from flowkit.runtime.attempts import Attempt
from flowkit.runtime.crew import Crew
from flowkit.runtime.worker import Worker
from flowkit.scheduler.turned import Turned


@attrs.frozen
class CycleResult:
    """What a cycle, or a drain of several, did.

    Attributes:
        refreshed: waiting steps that became ready.
        succeeded: attempts whose step succeeded.
        retried: attempts that failed, whose step is attempted again later.
        failed: attempts whose step failed for good.
        canceled: attempts of runs that were canceled meanwhile.
    """

    refreshed: int = 0
    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    canceled: int = 0

    @property
    def processed(self) -> int:
        """How many attempts were settled."""
        return self.succeeded + self.retried + self.failed + self.canceled

    def __add__(self, other: CycleResult) -> CycleResult:
        # Written out: every pass adds, and to ask attrs for the fields takes as long as a tenth of a pass.
        return CycleResult(
            self.refreshed + other.refreshed,
            self.succeeded + other.succeeded,
            self.retried + other.retried,
            self.failed + other.failed,
            self.canceled + other.canceled,
        )


def counted(turned: Turned) -> CycleResult:
    """Count what one turn did."""
    moves: list[Move | None] = turned.moves
    counts = [moves.count(move) for move in (SUCCEED, RETRY, FAIL, DISCARD)]
    return CycleResult(turned.promoted, *counts)


class Inline:
    """Drives a worker without its loop."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        # Nested, where an executor makes a pass; nobody takes out those that have ended, for Ctrl-C could hinder it.
        self._under_way: list[Attempt] = []

    @property
    def _is_outermost(self) -> bool:
        return all(attempt.ended for attempt in self._under_way)

    @property
    def crew(self) -> Crew:
        """The worker's crew."""
        return self._worker.crew

    def look(self, run: int | None = None) -> tuple[bool, Micros | None]:
        """Say whether a pass would do anything now, or else when."""
        return self._worker.look(1, run)

    def run_once(self, run: int | None = None) -> CycleResult:
        """Make one deterministic pass in the calling thread: one attempt after another, each step at most once."""
        try:
            return self._pass(run)
        except StoreError:
            raise
        except BaseException as error:
            # Ctrl-C, or what another signal's handler raised. What an attempt under way here leaves is its own.
            if error is not self.crew.crashed and self._is_outermost:
                with suppress(StoreError):
                    self._give_back()
            raise

    def tidy(self) -> None:
        """Give back what a call left behind that was interrupted at a bad moment; an attempt under way here is kept."""
        if self.crew.in_flight > len(self.crew.hung) and self._is_outermost:
            self.crew.give_up()
            self.crew.forget_ended()

    def _pass(self, run: int | None) -> CycleResult:
        seen: list[int] = []
        total = CycleResult()
        # More than one only where what was leased could not be read at once; each is settled before the next is run.
        waiting: deque[Attempt] = deque()
        while True:
            is_full = bool(waiting) or len(seen) >= self.crew.size
            turned = self._worker.turn(0 if is_full else 1, run=run, skip=seen)
            total += counted(turned)
            seen += [leased.key for leased in turned.leased]
            waiting += self._worker.prepare(turned)
            if waiting:
                self._run_to_its_end(waiting.popleft())
            elif turned.refused is not None:
                raise turned.refused
            else:
                self._worker.lull.held_up(turned.limited)
                return total

    def _give_back(self) -> None:
        self.crew.give_up()
        if self._worker.prepare(self._worker.turn(0)):
            self.crew.give_up()
            self._worker.turn(0)
            self._worker.turn(0)

    def _run_to_its_end(self, attempt: Attempt) -> None:
        definition = attempt.executable.definition
        if definition.pool is None and not definition.is_async and attempt.leased.timeout is None:
            self._under_way = [*(one for one in self._under_way if not one.ended), attempt]
            self._worker.crew.run_here(attempt)
            return
        # A thread cannot be stopped, so what may run over its time runs in one that can be left behind.
        self._worker.crew.launch([attempt])
        while not attempt.settled:
            self._worker.stand_still_if_crashed()
            self._worker.crew.wake.wait(1.0)
            self._worker.crew.wake.clear()
