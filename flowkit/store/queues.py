"""Queues: their stored limits, whether they are paused, how many steps run in them, and their token buckets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from peewee import fn

from flowkit.clock import Micros
from flowkit.model.limits import MILLI, NANO, QueueConfig, RateLimit, TokenBucket
from flowkit.model.struct import struct
from flowkit.store.database import Database, Session
from flowkit.store.notices import WORK
from flowkit.store.statements import insert_into, param, statement
from flowkit.store.tables import Tables


@struct
class StoredQueue:
    """A queue as every worker of the store obeys it."""

    name: str
    paused: bool = False
    max_workers: int | None = None
    bucket: TokenBucket | None = None

    @property
    def is_limited(self) -> bool:
        """Whether it has limits that all workers share."""
        return self.max_workers is not None or self.bucket is not None

    @property
    def config(self) -> QueueConfig:
        """Return its limits."""
        return QueueConfig(self.max_workers, self.bucket.limit if self.bucket else None)


class Queues:
    """Reads and writes of queues; one that nobody configured or paused has no row."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    @statement
    def _read(self) -> Any:
        q = self._t.queues
        return q.select(*queue_columns(q)).where(q.name.in_(self.db.dialect.texts("names")))

    @statement
    def _read_locked(self) -> Any:
        q = self._t.queues
        named = q.select(*queue_columns(q)).where(q.name.in_(self.db.dialect.texts("names")))
        return self.db.dialect.locked(named.order_by(q.name))

    @statement
    def _names(self) -> Any:
        return self._t.queues.select(self._t.queues.name)

    @statement
    def _in_flight(self) -> Any:
        s, lane = self._t.steps, self._t.lanes
        # The index of running steps holds their lanes, so this reads as many entries as there are steps in flight.
        query = s.select(lane.queue, fn.COUNT(s.key)).join(lane, on=(lane.id == s.lane))
        return query.where(s.status == "running").group_by(lane.queue)

    @statement
    def _pause(self) -> Any:
        q = self._t.queues
        insert = insert_into(q, ("name", "paused"))
        return insert.on_conflict(conflict_target=[q.name], preserve=[q.paused])

    @statement
    def _configure(self) -> Any:
        q = self._t.queues
        names = ("name", "max_workers", "rate_milli", "burst", "tokens_nano", "refilled_at", "configured_by")
        insert = insert_into(q, names, paused=0)
        return insert.on_conflict(conflict_target=[q.name], preserve=[getattr(q, name) for name in names[1:]])

    @statement
    def _spend(self) -> Any:
        q = self._t.queues
        change = {q.tokens_nano: param("tokens_nano"), q.refilled_at: param("refilled_at")}
        return q.update(change).where(q.name == param("name"))

    def read(self, tx: Session, names: Collection[str]) -> dict[str, StoredQueue]:
        """Return these queues; one without a row is unlimited."""
        found = {row[0]: queue_from(row) for row in tx.rows(self._read, names=list(names))}
        return {name: found.get(name) or StoredQueue(name) for name in names}

    def lock(self, tx: Session, queues: Mapping[str, StoredQueue]) -> dict[str, StoredQueue] | None:
        """Let nobody else start steps of those queues that have limits until the transaction ends; returns all anew.

        None where there was nothing to lock. Who has locked a queue waits for nobody any more.
        """
        names = [name for name, queue in queues.items() if queue.is_limited]
        if not names or self.db.dialect.one_writer:
            return None
        return {**queues, **{row[0]: queue_from(row) for row in tx.rows(self._read_locked, names=names)}}

    def names(self, tx: Session) -> list[str]:
        """Return the names of all queues that have a row."""
        return [row[0] for row in tx.rows(self._names)]

    def match(self, tx: Session, wanted: Mapping[str, QueueConfig]) -> bool:
        """Whether the stored limits of these queues are the wanted ones already."""
        known, stored = set(self.names(tx)), self.read(tx, wanted)
        return all(name in known and _stored(stored[name].config) == _stored(config) for name, config in wanted.items())

    def in_flight(self, tx: Session) -> dict[str, int]:
        """Count the running steps of each queue, those with an expired lease included: they hold their slot."""
        return dict(tx.rows(self._in_flight))

    def pause(self, tx: Session, name: str, *, paused: bool) -> None:
        """Pause a queue or let it go on."""
        tx.run(self._pause, name=name, paused=int(paused))
        if paused:
            # Who looked at the queue before may still start steps of it until it commits; not once this has returned.
            tx.after_commit(self.db.outlast)
        tx.notify(WORK)

    def configure(self, tx: Session, name: str, config: QueueConfig, *, by: str, now: Micros) -> QueueConfig | None:
        """Store a queue's limits; returns the other limits that stood before, if there were any."""
        before = self.read(tx, [name])[name]
        known = name in self.names(tx)
        if known and _stored(before.config) == _stored(config):
            return None
        bucket = _kept(before.bucket, config.rate_limit, now)
        tx.run(
            self._configure,
            name=name,
            max_workers=config.max_workers,
            rate_milli=bucket.limit.milli_per_second if bucket else None,
            burst=bucket.limit.burst if bucket else None,
            tokens_nano=bucket.tokens_nano if bucket else None,
            refilled_at=bucket.refilled_at if bucket else None,
            configured_by=by,
        )
        tx.notify(WORK)
        return before.config if known and before.config != QueueConfig() else None

    def spend(self, tx: Session, buckets: Iterable[tuple[str, TokenBucket]]) -> None:
        """Store what is left of the buckets that steps were started from."""
        for name, bucket in buckets:
            tx.later(self._spend, name=name, tokens_nano=bucket.tokens_nano, refilled_at=bucket.refilled_at)


def _kept(before: TokenBucket | None, limit: RateLimit | None, now: Micros) -> TokenBucket | None:
    # A new limit does not refill the bucket: opening a Runtime again and again must not mint tokens.
    if limit is None:
        return None
    if before is None:
        return TokenBucket.full(limit, now)
    filled = before.refill(now)
    return TokenBucket(limit, min(filled.tokens_nano, limit.burst * NANO), filled.refilled_at)


def _stored(config: QueueConfig) -> tuple[int | None, ...]:
    # A rate is stored in whole milli-tokens, so that is what two configs are compared by.
    limit = config.rate_limit
    return (config.max_workers, limit.milli_per_second if limit else None, limit.burst if limit else None)


def queue_columns(q: Any) -> tuple[Any, ...]:
    """Return the columns that a queue is made from."""
    return q.name, q.paused, q.max_workers, q.rate_milli, q.burst, q.tokens_nano, q.refilled_at


def queue_from(row: tuple[Any, ...]) -> StoredQueue:
    """Make a queue from its columns."""
    name, paused, max_workers, rate, burst, tokens, refilled = row
    bucket = TokenBucket(RateLimit(rate / MILLI, burst), tokens, refilled) if rate is not None else None
    return StoredQueue(name, bool(paused), max_workers, bucket)
