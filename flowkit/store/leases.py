"""Leases: taken, extended, reclaimed when they expire; and what an attempt needs to know, read with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs
from peewee import Case

from flowkit.clock import Micros
from flowkit.errors import DataCorrupted
from flowkit.model.lease import Lease
from flowkit.model.moves import LEASE
from flowkit.model.plan import Binding
from flowkit.model.step import LeasedStep
from flowkit.model.struct import struct
from flowkit.store.database import Database, Row, Session
from flowkit.store.glances import Lane
from flowkit.store.grants import Claim, Grant, Held, Specs, Taking, held_from
from flowkit.store.keys import first_key, place_of, run_of, run_of_node
from flowkit.store.proof import is_held
from flowkit.store.specs import bindings_from, places_in, retry_from
from flowkit.store.statements import Statement, param, statement
from flowkit.store.tables import Tables
from flowkit.store.tally import Tally

FEW = 4
"""What so many attempts need is read with their leases, also where that holds up other writers."""

@struct
class _Bound:
    """What is bound to a step: the results by their places, and what is wrong with one of them."""

    bindings: tuple[Binding, ...]
    results: dict[int, bytes | None]
    damage: str | None


class Leases:
    """Writes of leases."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _take(self) -> Any:
        s = self._t.steps
        free = self.db.dialect.checked((s.status == "ready") & s.delayed_until.is_null())
        taken = self._leased().where(self._unlocked(self.db.dialect.keys("keys").holds(s.key)) & free)
        return taken.returning(s.key, s.run, s.id, s.lane, s.attempt, s.epoch, s.generation, s.ready_at)

    @statement
    def _take_waiting(self) -> Any:
        # Promoted and leased at once: a row is written once, and never comes into the index of what is ready.
        s = self._t.steps
        b = self.db.dialect.batch("waiters", s.key, "met", "epoch")
        promoted = {s.deps_left: s.deps_left - b.c.met, s.ready_at: param("now")}
        waits = (s.status == "pending") & (s.deps_left == b.c.met) & (s.delay == 0) & (s.epoch == b.c.epoch)
        return self._leased(promoted).from_(b).where(b.is_named & self.db.dialect.checked(waits))

    def _leased(self, promoted: Mapping[Any, Any] = MappingProxyType({})) -> Any:
        s, now = self._t.steps, param("now")
        change = {
            s.status: LEASE.target.value,
            # Counted when the attempt starts, so a step that kills its worker still runs out of attempts.
            s.attempt: s.attempt + 1,
            s.epoch: s.epoch + 1,
            s.token: param("token"),
            s.worker: param("worker"),
            s.started_at: now,
            s.scheduled_at: now,
            s.expires_at: param("expires_at"),
        }
        return s.update({**change, **promoted})

    def _unlocked(self, named: Any) -> Any:
        s = self._t.steps
        if self.db.dialect.one_writer:
            return named
        # Who leases or extends has locked other steps before, so to wait for one might be to wait in a circle.
        return self.db.dialect.among(s.key, self.db.dialect.claimed(s.select(s.key).where(named)))

    @statement
    def _extend(self) -> Any:
        s, r = self._t.steps, self._t.runs
        b = self.db.dialect.batch("held", s.key, "epoch", "token", texts={"token"})
        now = param("now")
        # A clock that was set back by more than a lease must not make it end before it started.
        begun = Case(None, [(s.started_at > now, now)], s.started_at)
        change = {s.expires_at: param("expires_at"), s.scheduled_at: now, s.started_at: begun}
        mine = is_held(self.db.dialect, s, b)
        if not self.db.dialect.one_writer:
            mine &= self._unlocked(b.is_named)
        status = r.select(r.status).where(r.key == s.run)
        return s.update(change).from_(b).where(mine).returning(s.key, s.epoch, status)

    @statement
    def _held(self) -> Any:
        s, r = self._t.steps, self._t.runs
        b = self.db.dialect.batch("held", s.key, "epoch", "token", texts={"token"})
        mine = is_held(self.db.dialect, s, b)
        return s.select(s.key, s.epoch, r.status).from_(b).join(s, on=mine).join(r, on=(r.key == s.run))

    @statement
    def _load(self) -> Any:
        p, r = self._t.specs, self._t.runs
        columns = (p.step, p.input, p.sha256, p.retry, p.timeout, p.bindings, p.metadata)
        run = (r.id, r.package, r.name, r.metadata)
        joined = p.select(*columns, *run).join(r, on=(r.key == run_of_node(p.step)))
        return joined.where(self.db.dialect.keys("keys").holds(p.step))

    @statement
    def _results(self) -> Any:
        res = self._t.results
        return res.select(res.step, res.body, res.sha256).where(self.db.dialect.keys("keys").holds(res.step))

    def take(self, tx: Session, keys: Sequence[int], claim: Claim, tally: Tally) -> Taking:
        """Lease these steps for one worker.

        Steps that the transaction makes ready are made so by this; as their runs are locked, what their rows will be
        is known beforehand, and that they were leased is asked once the transaction is committed.
        """
        values: dict[str, Any] = {"token": claim.token, "worker": claim.worker_id, "now": tally.now}
        values["expires_at"] = tally.now + claim.lease
        waiting = [tally.waiters[key] for key in keys if key in tally.waiters]
        ready = [key for key in keys if key not in tally.waiters] if waiting else keys
        changed, found = None, {waiter.key: held_from(waiter, tally.now) for waiter in waiting}
        rows = []
        for waiter in waiting:
            if waiter.unstored is not None:
                waiter.unstored.lease(waiter.key, **values)
            else:
                rows.append((waiter.key, waiter.met, waiter.epoch))
        if rows:
            changed = tx.change(self._take_waiting, waiters=rows, **values)
        if ready:
            found |= {row[0]: Held._make(row) for row in tx.rows(self._take, keys=ready, **values)}
        held = [found[key] for key in keys if key in found]
        tally.promote()
        tally.waiters.drop(waiter.key for waiter in waiting)
        for row in held:
            tally.note("step_leased", row.key, row.epoch).started = True
        return Taking(held, len(rows), changed)

    def extend(
        self, tx: Session, leased: Sequence[LeasedStep], duration: Micros, now: Micros
    ) -> dict[tuple[int, int], str]:
        """Make leases last until now plus *duration*; returns, by key and epoch, the run's status where one held."""
        held = [(step.key, step.lease.epoch, step.lease.token) for step in leased]
        rows = tx.rows(self._extend, held=held, expires_at=now + duration, now=now)
        if len(rows) < len(leased) and not self.db.dialect.one_writer:
            # Somebody changes one of them just now, perhaps to settle it: it is not lost before that is committed.
            rows += tx.rows(self._held, held=held)
        # By epoch too: a worker may hold an attempt whose lease is lost beside a later one of the same step.
        return {(key, epoch): status for key, epoch, status in rows}

    def ask(self, tx: Session, keys: Sequence[int], tally: Tally) -> Specs | None:
        """Ask for what attempts of these steps need, which comes with the leases.

        None where other writers would be held up by it longer than it takes to begin to read afterwards.
        """
        known, asked = list[Row](), []
        for key in keys:
            unstored = tally.waiters[key].unstored if key in tally.waiters else None
            if unstored is not None:
                known.append(unstored.spec(key))
            else:
                asked.append(key)
        if self.db.dialect.one_writer and len(asked) > FEW:
            return None
        rows = tx.ahead(self._load, keys=asked) if asked else list
        return lambda: [*rows(), *known]

    def still_held(self, grant: Grant) -> Grant:
        """Return as much of a grant as is held: it may not have been committed, or have ended since."""
        token = grant.claim.token
        with self.db.read() as tx:
            rows = tx.rows(self._held, held=[(row.key, row.epoch, token) for row in grant.taken.held])
        held = {(key, epoch) for key, epoch, _ in rows}
        taken = Taking([row for row in grant.taken.held if (row.key, row.epoch) in held])
        return attrs.evolve(grant, taken=taken, specs=None, results={})

    def load(self, grant: Grant) -> list[LeasedStep]:
        """Read what the attempts of these steps need: inputs, policies, and the results bound to them.

        It never changes, so it is read after the commit, as far as it was not asked for, or stored, before.
        """
        held = grant.taken.held
        rows = grant.specs() if grant.specs is not None else self._read(self._load, [row.key for row in held])
        specs = {row[0]: row for row in rows}
        texts = {row.key: text for row in held if (text := specs[row.key][5]) is not None}
        bound = self._bound(texts, grant.results) if texts else {}
        claim, expires_at = grant.claim, grant.now + grant.claim.lease
        leased = []
        for row in held:
            lease = Lease(claim.worker_id, claim.token, row.epoch, grant.now, expires_at)
            leased.append(_leased(row, lease, grant.lanes[row.lane], specs[row.key], bound.get(row.key, UNBOUND)))
        return leased

    def _read(self, statement_: Statement, keys: Sequence[int]) -> list[Row]:
        with self.db.read() as tx:
            return tx.rows(statement_, keys=keys)

    def _bound(self, texts: dict[int, str], fresh: Mapping[int, bytes | None]) -> dict[int, _Bound]:
        """Return what is bound to steps, by their keys.

        Args:
            texts: their bindings, as they are stored.
            fresh: results that need not be read.
        """
        bindings = {key: bindings_from(text) for key, text in texts.items()}
        places = {key: tuple(places_in(bound)) for key, bound in bindings.items()}
        keys = {key: [first_key(run_of(key)) + place for place in listed] for key, listed in places.items()}
        targets = {target for listed in keys.values() for target in listed}
        results, damage = self._stored(sorted(targets - fresh.keys()))
        results |= {target: fresh[target] for target in targets & fresh.keys()}
        return {
            key: _Bound(
                bindings[key],
                {place: results.get(target) for place, target in zip(places[key], listed)},
                next((damage[target] for target in listed if target in damage), None) if damage else None,
            )
            for key, listed in keys.items()
        }

    def _stored(self, keys: Sequence[int]) -> tuple[dict[int, bytes | None], dict[int, str]]:
        """Return the stored results of these steps, and what is wrong with those that are damaged."""
        found: dict[int, bytes | None] = {}
        damage: dict[int, str] = {}
        for key, body, digest in self._read(self._results, keys) if keys else ():
            if body is not None and not is_intact(body, digest):
                damage[key] = f"the result of the step at place {place_of(key)} does not match its checksum"
            found[key] = bytes(body) if body is not None else None
        return found, damage


UNBOUND = _Bound((), {}, None)
"""What is bound to most steps."""


def _leased(row: Held, lease: Lease, lane: Lane, spec: Row, bound: _Bound) -> LeasedStep:
    _, body, digest, retry, timeout, _, metadata, run_id, package, run_name, run_metadata = spec
    damage = bound.damage
    if damage is None and not is_intact(body, digest):
        damage = f"the input of step {row.id!r} of run {run_id!r} does not match its checksum"
    what = (row.key, row.run, run_id, row.id, lane.kind, lane.queue, row.attempt, row.generation)
    how = (retry_from(retry), timeout, lease, bytes(body), bound.bindings, bound.results)
    return LeasedStep(*what, *how, package, run_name, run_metadata, metadata, damage)


def is_intact(body: Any, digest: Any) -> bool:
    """Whether *digest* is the SHA-256 of *body*."""
    return hashlib.sha256(body).digest() == bytes(digest)


def verified(body: Any, digest: Any, what: str) -> bytes:
    """Return *body* as bytes, or raise ``DataCorrupted`` where *digest* is not its SHA-256."""
    if not is_intact(body, digest):
        raise DataCorrupted(f"{what} does not match its checksum; check the store and restore it from a backup")
    return bytes(body)
