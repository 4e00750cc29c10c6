"""What a pass asks first: how the runs of its outcomes stand, and what is ready."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowkit.model.step import Settlement
from flowkit.scheduler.search import Demand, Looking, Search
from flowkit.store.batch import Batch
from flowkit.store.engine import Engine
from flowkit.store.statements import Asked

FEW = 8
"""Of how many outcomes at most the first statements are made while the transaction begins."""


class Opening:
    """The first statements of a pass, which are made while its transaction begins."""

    def __init__(self, engine: Engine, search: Search, inbox: Sequence[Settlement], demand: Demand) -> None:
        self._engine = engine
        self._search = search
        self._inbox = inbox
        self._demand = demand
        self._made: tuple[Batch | None, Looking | None] | None = None

    def __iter__(self) -> Iterator[Asked]:
        batch = self._engine.outcomes.batch(self._inbox) if self._inbox else None
        if batch is not None:
            yield from batch.first
        looking = self._looking(batch)
        if looking is not None:
            yield from looking.first
        self._made = batch, looking

    def made(self) -> tuple[Batch | None, Looking | None]:
        """Return what was asked for the outcomes, and what before anything is leased; made now, if not before."""
        if self._made is None:
            for _ in self:
                pass
        assert self._made is not None
        return self._made

    def _looking(self, batch: Batch | None) -> Looking | None:
        demand = self._demand
        # Where one of the outcomes may make its own step ready again, it is asked after that what is ready.
        if not demand.slots or (batch is not None and not batch.is_plain):
            return None
        mine = max((item.settlement.leased.run_key for item in batch.items), default=None) if batch else None
        return self._search.looking(demand, mine, settles=batch is not None)
