"""The first steps of runs that a transaction stores at its end: one that it leases is then stored as leased."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.model.states import StepStatus
from flowkit.store.graph_rows import COLUMNS, LEASED, GraphRows, Row
from flowkit.store.keys import run_of
from flowkit.store.runs import NewRun
from flowkit.store.waiters import Waiter

MOST = 64
"""Of how many steps at most it is kept in mind; of more than a worker leases at once most are not leased."""


def are_few(rows: GraphRows) -> bool:
    """Whether these steps are worth keeping in mind."""
    return len(rows.steps) <= MOST and not rows.alike


@attrs.define
class Newborn:
    """Rows of runs' first steps, which may be leased before they are stored.

    Attributes:
        leased: by their keys, what the steps that are leased have besides.
    """

    rows: GraphRows
    runs: Mapping[int, NewRun]
    leased: dict[int, dict[str, Any]] = attrs.field(factory=dict)
    _specs: dict[int, Row] = attrs.field(init=False)

    @_specs.default
    def _by_key(self) -> dict[int, Row]:
        return {row[0]: row for row in self.rows.specs}

    def ready(self) -> Iterator[Waiter]:
        """Yield the steps that wait for nothing."""
        for row in self.rows.steps:
            step = dict(zip(COLUMNS, row))
            if step["status"] == StepStatus.READY.value:
                how = (step["key"], step["lane"], 0, step["delay"], step["priority"], step["id"], 0, 0, 0)
                yield Waiter(*how, told=True, ready_at=step["ready_at"], unstored=self)

    def spec(self, key: int) -> Row:
        """Return what an attempt of a step needs to know."""
        _, retry, timeout, bindings, metadata, digest, body = self._specs[key]
        run = self.runs[run_of(key)]
        return (key, body, digest, retry, timeout, bindings, metadata, run.id, run.package, run.name, run.metadata)

    def lease(self, key: int, *, token: str, worker: str, now: Micros, expires_at: Micros) -> None:
        """Let a step be stored as leased."""
        self.leased[key] = {"token": token, "worker": worker, "started_at": now, "expires_at": expires_at}

    def take_leased(self) -> list[Row]:
        """Return the rows of the steps that are leased, which are then no more among the others."""
        steps, leased = self.rows.steps, self.leased
        if not leased:
            return []
        self.rows.steps = [row for row in steps if row[0] not in leased]
        return [_running(row, leased[row[0]]) for row in steps if row[0] in leased]


def _running(row: Row, lease: Mapping[str, Any]) -> Row:
    changed = {"status": StepStatus.RUNNING.value, "scheduled_at": lease["started_at"]}
    step = {**dict(zip(COLUMNS, row)), **changed, **lease}
    return tuple([step[name] for name in (*COLUMNS, *LEASED)])
