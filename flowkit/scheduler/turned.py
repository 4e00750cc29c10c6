"""What a pass of the scheduler took and did, as its worker is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import attrs

from flowkit.clock import Micros
from flowkit.errors import StoreError
from flowkit.model.events import Event
from flowkit.model.moves import SUCCEED, Move
from flowkit.model.outcome import Succeeded
from flowkit.model.step import LeasedStep, Settlement
from flowkit.model.struct import struct
from flowkit.store.closing import Verdict
from flowkit.store.grants import Grant
from flowkit.store.views_results import StoredValue

_NONE: Mapping[str, Micros] = MappingProxyType({})


@struct
class Taken:
    """What a transaction leased; once that is committed, what the steps are is read with ``Cycle.hand_out``.

    Attributes:
        grant: the leases, if there are any.
        due_at: when the next delayed step comes due, as far as that was looked up.
        limited: when each queue that has a rate limit, and a step that is ready, had its next token before the lease.
        contended: whether a step was left to another worker, whose transaction had its run locked, or had taken it.
    """

    grant: Grant | None = None
    due_at: Micros | None = None
    limited: Mapping[str, Micros] = _NONE
    contended: bool = False


@attrs.define
class Turned:
    """What a cycle did.

    Attributes:
        settlements: what was to be settled, in order.
        verdicts: of each of them; and the move that it made, if its lease held.
        leased: the steps to attempt now.
        promoted: how many waiting steps became ready.
        due_at, limited, contended: of what was taken.
        refused: why not all that is leased could be read yet; the next turn tries again.
        left: whether steps with an expired lease were left, because others are at their runs.
    """

    settlements: Sequence[Settlement] = ()
    verdicts: list[Verdict] = attrs.field(factory=list)
    moves: list[Move | None] = attrs.field(factory=list)
    leased: list[LeasedStep] = attrs.field(factory=list)
    events: list[Event] = attrs.field(factory=list)
    promoted: int = 0
    due_at: Micros | None = None
    limited: Mapping[str, Micros] = _NONE
    contended: bool = False
    refused: StoreError | None = None
    left: bool = False
    _results: dict[tuple[str, str], StoredValue] | None = None

    def add(self, other: Turned) -> None:
        """Count what another transaction of the same pass did."""
        self.settlements = [*self.settlements, *other.settlements]
        self.verdicts += other.verdicts
        self.moves += other.moves
        self.leased += other.leased
        self.events += other.events
        self.promoted += other.promoted
        self.due_at, self.limited, self.contended = other.due_at, other.limited, other.contended
        self.left |= other.left

    def result_of(self, run_id: str, step_id: str) -> StoredValue | None:
        """Return the result of a step that succeeded by this pass, as it is stored now."""
        if self._results is None:
            # Many may wait, each for a run of its own.
            self._results = {
                (settlement.leased.run_id, settlement.leased.id): StoredValue(settlement.leased.kind, outcome.body)
                for settlement, move in zip(self.settlements, self.moves)
                if move is SUCCEED and isinstance(outcome := settlement.outcome, Succeeded)
            }
        return self._results.get((run_id, step_id))
