"""The worker processes of a round of torture: started, killed, paused, told to end, and replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from flowkit.clock import SystemClock
from flowkit.torture.child import Job
from flowkit.torture.faults import WrongClock
from flowkit.torture.nursery import Nursery

TAIL_LINES = 12


@attrs.frozen
class Death:
    """A worker process that ended though nobody ended it."""

    name: str
    code: int
    tail: str


@attrs.define(eq=False)
class _Member:
    job: Job
    pid: int
    started_at: float
    is_up: bool = False
    paused_until: float | None = None


@attrs.define(eq=False)
class Fleet:
    """Workers on the scratch store of one round.

    Args:
        nursery: starts them.
        place: the directory of the store.
        modules: what each worker registers.
        size: how many there are at once.
        lease: seconds.

    Attributes:
        slowest: how many seconds it took a worker to begin, at most.
    """

    nursery: Nursery
    place: Path
    modules: Sequence[str]
    size: int
    lease: float
    slowest: float = 0.0
    _members: list[_Member] = attrs.field(factory=list)
    _started: int = 0
    _clock: SystemClock = attrs.field(factory=SystemClock)

    def __enter__(self) -> Fleet:
        for directory in ("up", "logs"):
            (self.place / directory).mkdir(parents=True, exist_ok=True)
        for _ in range(self.size):
            self.start()
        return self

    def __exit__(self, *error: Any) -> None:
        # Whatever is still at work has nothing to do any more, or is stuck.
        for member in self._members:
            _send(member, signal.SIGKILL)

    def start(self, clock: WrongClock | None = None) -> None:
        """Start one more worker."""
        self._started += 1
        job = Job(str(self.place), f"worker-{self._started}", self.modules, self.lease, clock or WrongClock())
        self._members.append(_Member(job, self.nursery.start(job), self._clock.monotonic()))

    def working(self) -> list[_Member]:
        """Return the workers that have opened the store and are not paused."""
        return [one for one in self._members if one.is_up and one.paused_until is None]

    def kill(self, member: _Member) -> bool:
        """Kill a worker and start another; False where it had ended by itself."""
        if self.nursery.code(member.pid) is not None:
            return False
        _send(member, signal.SIGKILL)
        self._members.remove(member)
        self.start()
        return True

    def pause(self, member: _Member, seconds: float) -> None:
        """Stop a worker for some time."""
        _send(member, signal.SIGSTOP)
        member.paused_until = self._clock.monotonic() + seconds

    def go_on(self) -> None:
        """Let all that is paused go on: one that was stopped in a transaction keeps everybody else from writing."""
        for member in self._members:
            self._go_on(member)

    def replace(self, member: _Member, clock: WrongClock) -> None:
        """Tell a worker to end, and start another whose clock is wrong."""
        self._members.remove(member)
        _send(member, signal.SIGTERM)
        self.start(clock)

    def look(self) -> list[Death]:
        """Let go on what was paused long enough; replace what ended by itself, and say what did."""
        now, deaths = self._clock.monotonic(), []
        for member in list(self._members):
            if member.paused_until is not None and member.paused_until <= now:
                self._go_on(member)
            if not member.is_up and member.job.up.exists():
                member.is_up = True
                self.slowest = max(self.slowest, now - member.started_at)
            code = self.nursery.code(member.pid)
            if code is not None:
                self._members.remove(member)
                deaths.append(Death(member.job.name, code, _tail(member.job.log)))
                self.start()
        return deaths

    @staticmethod
    def _go_on(member: _Member) -> None:
        if member.paused_until is not None:
            _send(member, signal.SIGCONT)
            member.paused_until = None


def _send(member: _Member, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(member.pid, number)


def _tail(log: Path) -> str:
    if not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
