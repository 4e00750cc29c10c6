"""What is done to the workers while they are tortured, and when: decided by a seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

import attrs

FaultKind = Literal["kill", "pause", "clock", "lock"]
WEIGHTS: dict[FaultKind, int] = {"kill": 70, "pause": 10, "clock": 10, "lock": 10}
FAR_SECONDS = 3600.0
"""How far a clock is wrong, at most, now and then; mostly it is wrong by a few leases."""


@attrs.frozen
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: ``kill``: SIGKILL to a worker. ``pause``: SIGSTOP beyond the lease, then SIGCONT. ``clock``: a worker is
            told to end, and the clock of the one that takes its place is wrong, and jumps. ``lock``: another process
            holds the write lock of the store.
        after: how long after the one before, in units of the pace.
        choice: 0 to 1, which worker.
        amount: 0 to 1, for how long or how far.
    """

    kind: FaultKind
    after: float
    choice: float
    amount: float


@attrs.frozen
class WrongClock:
    """By how many seconds a worker's clock is wrong, and how it jumps.

    Attributes:
        offset: from the beginning.
        jump_after: seconds after which it jumps.
        jump: by how much.
    """

    offset: float = 0.0
    jump_after: float = 0.0
    jump: float = 0.0


def faults(seed: int) -> Iterator[Fault]:
    """Yield the faults that this seed stands for, without end."""
    chance = random.Random(seed)
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    while True:
        kind = chance.choices(kinds, weights)[0]
        yield Fault(kind, chance.uniform(0.5, 1.5), chance.random(), chance.random())


def wrong_clock(fault: Fault, lease: float) -> WrongClock:
    """Return how wrong a clock is made: mostly by up to three leases either way, one time in five by up to an hour."""
    chance = random.Random(fault.amount)
    offset = chance.uniform(-3, 3) * lease
    far = chance.random() < 0.2
    jump = chance.uniform(-FAR_SECONDS, FAR_SECONDS) if far else chance.uniform(-3, 3) * lease
    return WrongClock(offset, chance.uniform(0.2, 2.0) * lease, jump)
