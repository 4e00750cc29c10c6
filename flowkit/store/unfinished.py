"""What unfinished runs still need of the code: the inputs, bindings and upstream results of their open steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from flowkit.model.plan import Binding
from flowkit.store.database import Database, Row
from flowkit.store.keys import first_key, last_key, run_of
from flowkit.store.leases import is_intact
from flowkit.store.specs import bindings_from, places_in
from flowkit.store.statements import param, statement
from flowkit.store.tables import Tables
from flowkit.store.views_runs import OPEN_RUN

RUNS_AT_ONCE = 500
BODIES_AT_ONCE = 16
"""How many inputs or results are in memory at once; an input may have 1 MiB, a result 8."""

_OPEN_STEP = ("pending", "ready", "running")


@attrs.frozen
class OpenStep:
    """A step that has not ended, with what its next attempt will be given.

    Attributes:
        input: as stored; None where it does not match its checksum.
    """

    key: int
    run_id: str
    id: str
    kind: str
    input: bytes | None
    bindings: tuple[Binding, ...]


class Unfinished:
    """Reads the open steps of open runs, a few at a time, each page in a transaction of its own."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _runs(self) -> Any:
        r = self._t.runs
        following = r.status.in_(OPEN_RUN) & (r.key > param("after"))
        return r.select(r.key, r.id).where(following).order_by(r.key).limit(RUNS_AT_ONCE)

    @statement
    def _steps(self) -> Any:
        s, p, lane = self._t.steps, self._t.specs, self._t.lanes
        columns = (s.key, s.id, lane.kind, p.input, p.sha256, p.bindings)
        joined = s.select(*columns).join(p, on=(p.step == s.key)).join(lane, on=(lane.id == s.lane))
        following = s.key.between(param("first"), param("last")) & s.status.in_(_OPEN_STEP)
        return joined.where(following).order_by(s.key).limit(BODIES_AT_ONCE)

    @statement
    def _results(self) -> Any:
        res = self._t.results
        return res.select(res.step, res.body).where(self.db.dialect.keys("keys").holds(res.step))

    def runs(self) -> Iterator[tuple[int, str]]:
        """Yield the key and id of every run that has not ended, oldest first."""
        after = -1
        while True:
            with self.db.read() as tx:
                page = tx.rows(self._runs, after=after)
            yield from page
            if len(page) < RUNS_AT_ONCE:
                return
            after = page[-1][0]

    def steps(self, run: int, run_id: str) -> Iterator[OpenStep]:
        """Yield the open steps of one run in declaration order."""
        first = first_key(run)
        while True:
            with self.db.read() as tx:
                page = [_open_step(run_id, row) for row in tx.rows(self._steps, first=first, last=last_key(run))]
            yield from page
            if len(page) < BODIES_AT_ONCE:
                return
            first = page[-1].key + 1

    def bound(self, step: OpenStep, binding: Binding) -> Iterator[tuple[int, bytes | None]]:
        """Yield those results that are bound to a step and committed already, each after its place among them.

        None stands for one that returned nothing.
        """
        first = first_key(run_of(step.key))
        keys = [first + place for place in places_in([binding])]
        for start in range(0, len(keys), BODIES_AT_ONCE):
            some = keys[start : start + BODIES_AT_ONCE]
            with self.db.read() as tx:
                found: dict[int, Any] = dict(tx.rows(self._results, keys=some))
            for place, key in enumerate(some, start):
                if key in found:
                    yield place, bytes(found[key]) if found[key] is not None else None


def _open_step(run_id: str, row: Row) -> OpenStep:
    key, step_id, kind, body, digest, bindings = row
    intact = bytes(body) if is_intact(body, digest) else None
    return OpenStep(key, run_id, step_id, kind, intact, bindings_from(bindings))
