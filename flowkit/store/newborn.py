"""The first steps of runs that a transaction stores at its end: one that it leases is then stored as leased."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from flowkit.clock import Micros
from flowkit.model.states import StepStatus
from flowkit.store.graph_rows import COLUMNS, GraphRows, Row
from flowkit.store.keys import run_of
from flowkit.store.runs import NewRun
from flowkit.store.waiters import Waiter

MOST = 64
"""Of how many steps at most it is kept in mind; of more than a worker leases at once most are not leased."""

_AT = {name: place for place, name in enumerate(COLUMNS)}
_STATUS, _SCHEDULED = _AT["status"], _AT["scheduled_at"]


@attrs.define
class Newborn:
    """Rows of runs' first steps, which may be leased before they are stored.

    Attributes:
        leased: by their keys, what the steps that are leased have besides.
    """

    rows: GraphRows
    runs: Mapping[int, NewRun]
    leased: dict[int, Row] = attrs.field(factory=dict)
    _specs: dict[int, Row] = attrs.field(init=False)

    @_specs.default
    def _by_key(self) -> dict[int, Row]:
        return {row[0]: row for row in self.rows.specs}

    @property
    def are_few(self) -> bool:
        """Whether they are worth keeping in mind."""
        return len(self.rows.steps) <= MOST and not self.rows.alike

    def ready(self) -> Iterator[Waiter]:
        """Yield the steps that wait for nothing."""
        for row in self.rows.steps:
            key, _, id, lane, status = row[: _STATUS + 1]
            if status == StepStatus.READY.value:
                delay, priority = row[_AT["delay"]], row[_AT["priority"]]
                yield Waiter(key, lane, 0, delay, priority, id, 0, 0, 0, told=True, unstored=self)

    def spec(self, key: int) -> Row:
        """Return what an attempt of a step needs to know."""
        _, retry, timeout, bindings, metadata, digest, body = self._specs[key]
        run = self.runs[run_of(key)]
        return (key, body, digest, retry, timeout, bindings, metadata, run.id, run.package, run.name, run.metadata)

    def lease(self, key: int, *, token: str, worker: str, now: Micros, expires_at: Micros) -> None:
        """Let a step be stored as leased."""
        self.leased[key] = (token, worker, now, expires_at)

    def take_leased(self) -> list[Row]:
        """Return the rows of the steps that are leased, which are then no more among the others."""
        steps, leased = self.rows.steps, self.leased
        if not leased:
            return []
        self.rows.steps = [row for row in steps if row[0] not in leased]
        return [_running(row, leased[row[0]]) for row in steps if row[0] in leased]


def _running(row: Row, lease: Row) -> Row:
    between = row[_STATUS + 1 : _SCHEDULED]
    return (*row[:_STATUS], StepStatus.RUNNING.value, *between, lease[2], *row[_SCHEDULED + 1 :], *lease)
