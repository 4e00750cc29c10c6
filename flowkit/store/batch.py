"""A batch of outcomes on its way: what is known of each before it is written, and what its transaction begins with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.model.moves import DISCARD, FAIL, RELEASE, RETRY, SUCCEED, Move
from flowkit.model.outcome import Failed, Outcome, Released, Retried, Succeeded
from flowkit.model.plan import Plan
from flowkit.model.states import RunStatus
from flowkit.model.step import Settlement
from flowkit.model.struct import struct
from flowkit.store.closing import Verdict
from flowkit.store.graph_rows import GraphRows
from flowkit.store.standing import StoredRun
from flowkit.store.statements import Asked

MOVE_OF: dict[type, Move] = {Succeeded: SUCCEED, Retried: RETRY, Failed: FAIL, Released: RELEASE}


@attrs.define
class Item:
    """A settlement on its way: its outcome may still turn into a failure, and it may have emitted steps.

    Attributes:
        identity: the step's key and the epoch of its lease.
    """

    settlement: Settlement
    outcome: Outcome
    identity: tuple[int, int]
    ended_at: Micros
    emitted: str | None = None
    verdict: Verdict | None = None
    move: Move | None = None

    def is_of(self, standing: dict[int, StoredRun]) -> bool:
        """Whether its run is there still; the key of one that was pruned may be another's by now."""
        run = standing.get(self.settlement.leased.run_key)
        return run is not None and run.id == self.settlement.leased.run_id

    @property
    def emission(self) -> Plan | None:
        """The steps that it emits, if it does."""
        return self.outcome.emission if isinstance(self.outcome, Succeeded) else None

    @property
    def inline_ids(self) -> list[str]:
        """The ids of its inline artifacts, which are unique in a run."""
        artifacts = self.outcome.artifacts if isinstance(self.outcome, Succeeded) else ()
        return [artifact.id for artifact in artifacts if not artifact.is_external]

    @property
    def has_effects(self) -> bool:
        """Whether it hands over what may be refused: new steps, or artifacts."""
        outcome = self.outcome
        return isinstance(outcome, Succeeded) and bool(outcome.emission or outcome.artifacts)

    @property
    def is_plain(self) -> bool:
        """Whether it is a success that nothing can turn into a failure."""
        return isinstance(self.outcome, Succeeded) and not self.has_effects


@attrs.define
class Gathered:
    """What the steps of a batch hand over beside their results: new steps, and inline artifacts.

    Attributes:
        artifacts: by run and id, the step to which an inline artifact belongs: one of the batch, or one that has it.
    """

    rows: GraphRows = attrs.field(factory=GraphRows)
    artifacts: dict[tuple[int, str], int] = attrs.field(factory=dict)


@struct
class Batch:
    """Outcomes, and the statements that the transaction which settles them may begin with, in one round trip.

    Attributes:
        standing: asks how their runs stand, and locks them.
        plain: writes the successes, where none of the batch hands over anything that may be refused.
        waiting: asks what waits for the steps, where none is added that may wait for them too.
        is_plain: whether all of them are such successes: what is ready then is so by its dependencies alone.
    """

    items: list[Item]
    standing: Asked
    plain: Asked | None = None
    waiting: Asked | None = None
    is_plain: bool = False

    @property
    def first(self) -> list[Asked]:
        """The statements, in order."""
        return [asked for asked in (self.standing, self.plain, self.waiting) if asked is not None]


def item_of(settlement: Settlement) -> Item:
    """Return a settlement as an item; one that may not be tried again has failed."""
    leased, outcome = settlement.leased, settlement.outcome
    if isinstance(outcome, Retried) and leased.attempt >= leased.retry.max_attempts:
        outcome = Failed(outcome.error)
        settlement = attrs.evolve(settlement, outcome=outcome)
    # A clock that was set back in between must not make a duration negative.
    ended_at = max(settlement.ended_at, leased.lease.acquired_at)
    return Item(settlement, outcome, (leased.key, leased.lease.epoch), ended_at)


def once(items: Iterable[Item]) -> list[Item]:
    """Return the items without those that are offered again: of these, one is written and told so."""
    first: dict[tuple[int, int], Item] = {}
    for item in items:
        first.setdefault(item.identity, item)
    return list(first.values())


def proofs_of(items: Sequence[Item], now: Micros = 0) -> list[tuple[Any, ...]]:
    """Return what the moves of these items are guarded by; *now* is needed for those that are tried again."""
    return [(*item.identity, item.settlement.leased.lease.token, _at(item, now)) for item in items]


def _at(item: Item, now: Micros) -> Micros:
    return now + item.outcome.delay if isinstance(item.outcome, Retried) else item.ended_at


def by_move(items: Iterable[Item], standing: dict[int, StoredRun]) -> dict[Move, list[Item]]:
    """Return, by the move that each makes, the items whose runs have not ended."""
    groups: dict[Move, list[Item]] = {}
    for item in items:
        run = standing[item.settlement.leased.run_key]
        if run.status.is_ended:
            continue
        move = DISCARD if run.status is RunStatus.CANCELING else MOVE_OF[type(item.outcome)]
        groups.setdefault(move, []).append(item)
    return groups
