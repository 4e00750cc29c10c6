"""Leases as they are taken: who wants them, which a transaction took, and what is known of the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import attrs

from flowkit.clock import Micros
from flowkit.errors import StoreError
from flowkit.model.struct import struct
from flowkit.store.database import Row
from flowkit.store.glances import Lane
from flowkit.store.keys import run_of
from flowkit.store.waiters import Waiter

Specs = Callable[[], list[Row]]
"""Gives what is stored of the steps that were asked for, each a row that begins with the step's key."""


@struct
class Claim:
    """A worker's wish to lease steps: who it is and for how long."""

    worker_id: str
    token: str
    lease: Micros


class Held(NamedTuple):
    """A step whose lease was just taken, as its row is now."""

    key: int
    run: int
    id: str
    lane: int
    attempt: int
    epoch: int
    generation: int
    ready_at: Micros


@struct
class Taking:
    """Steps that a transaction leased.

    Attributes:
        promoted: how many of them it made ready that were stored before.
        changed: gives how many of these were leased.
    """

    held: list[Held]
    promoted: int = 0
    changed: Callable[[], int] | None = None

    def check(self) -> None:
        """See, once the transaction is committed, that all were leased.

        Raises:
            StoreError: somebody changed a step without locking its run.
        """
        if self.changed is not None and self.changed() != self.promoted:
            raise StoreError(
                "steps were changed by somebody who had not locked their run; what was leased will expire: "
                "run flowkit check --store, which tells what does not fit"
            )


@struct
class Grant:
    """Leases that a transaction took.

    Attributes:
        lanes: by their numbers, those of the steps.
        now: when that was.
        specs: gives what of the steps was asked for beforehand.
        results: by their steps, results that the transaction stored.
    """

    taken: Taking
    claim: Claim
    lanes: Mapping[int, Lane]
    now: Micros
    specs: Specs | None = None
    results: Mapping[int, bytes | None] = attrs.field(factory=dict)


def held_from(waiter: Waiter, now: Micros) -> Held:
    """Return a waiter as it is held once it is leased."""
    attempt, epoch = waiter.attempt + 1, waiter.epoch + 1
    ready_at = now if waiter.ready_at is None else waiter.ready_at
    return Held(waiter.key, run_of(waiter.key), waiter.id, waiter.lane, attempt, epoch, waiter.generation, ready_at)
