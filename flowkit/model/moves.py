"""The one table of legal moves: which status may follow which, and what the move is called."""

from __future__ import annotations

import attrs

from flowkit.model.states import StepStatus

PENDING, READY, RUNNING = StepStatus.PENDING, StepStatus.READY, StepStatus.RUNNING
SUCCEEDED, FAILED, CANCELED = StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.CANCELED


@attrs.frozen(eq=False)  # there is one of each
class Move:
    """A legal change of a step's status, named by the verb people use for it."""

    name: str
    sources: frozenset[StepStatus]
    target: StepStatus

    def __str__(self) -> str:
        return self.name


def _move(name: str, *sources: StepStatus, to: StepStatus) -> Move:
    return Move(name, frozenset(sources), to)


PROMOTE = _move("promote", PENDING, to=READY)
CASCADE = _move("cascade", PENDING, to=CANCELED)
LEASE = _move("lease", READY, to=RUNNING)
SUCCEED = _move("succeed", RUNNING, to=SUCCEEDED)
RETRY = _move("retry", RUNNING, to=READY)
FAIL = _move("fail", RUNNING, to=FAILED)
RECLAIM = _move("reclaim", RUNNING, to=READY)
RECLAIM_SPENT = _move("reclaim_spent", RUNNING, to=FAILED)
RELEASE = _move("release", RUNNING, to=READY)
CANCEL = _move("cancel", PENDING, READY, to=CANCELED)
DISCARD = _move("discard", RUNNING, to=CANCELED)
REVIVE = _move("revive", FAILED, CANCELED, to=READY)
REVIVE_WAITING = _move("revive_waiting", FAILED, CANCELED, to=PENDING)
FENCE = _move("fence", RUNNING, to=READY)

MOVES: tuple[Move, ...] = (
    PROMOTE,
    CASCADE,
    LEASE,
    SUCCEED,
    RETRY,
    FAIL,
    RECLAIM,
    RECLAIM_SPENT,
    RELEASE,
    CANCEL,
    DISCARD,
    REVIVE,
    REVIVE_WAITING,
    FENCE,
)

LEGAL: frozenset[tuple[StepStatus, StepStatus]] = frozenset(
    (source, move.target) for move in MOVES for source in move.sources
)
"""Every pair (from, to) that some move allows."""

AT_ONCE: frozenset[tuple[StepStatus, StepStatus]] = frozenset({(PENDING, RUNNING)})
"""What one statement may do by two moves: who makes a step ready may lease it in the same breath."""
