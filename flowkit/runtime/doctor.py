"""Looks a store over for what keeps work from being done, and says how each thing is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import attrs

from flowkit.clock import SECOND, Micros
from flowkit.errors import DataCorrupted
from flowkit.model.stats import QueueInfo
from flowkit.model.worker import WorkerInfo
from flowkit.runtime.presence import live_workers
from flowkit.store.database import Session
from flowkit.store.engine import Engine
from flowkit.store.health import Waiting
from flowkit.store.migrate import stored_version

STUCK_SECONDS = 10
"""A lease that ran out longer ago than this, with nobody to take it back, is stuck: live workers do so in a second."""
LOG_BYTES = 64 << 20
"""A write-ahead log that no reader holds up stays at 16 MB."""
SLOW_SECONDS = 86_400
"""A queue whose limit needs longer than this for what waits in it is worth a word."""

Level = Literal["problem", "advice"]


@attrs.frozen
class Complaint:
    """One thing that is not as it should be.

    Attributes:
        level: ``problem``: work is not being done; ``advice``: it is, but something looks unintended.
        what: what it is, in a sentence.
        remedy: what to do about it.
    """

    level: Level
    what: str
    remedy: str


@attrs.frozen
class Diagnosis:
    """What the doctor saw.

    Attributes:
        schema_version: of the store.
        live, dead: workers that are there, and those that went without leaving.
        complaints: problems first.
    """

    schema_version: int
    live: tuple[WorkerInfo, ...]
    dead: tuple[WorkerInfo, ...]
    complaints: tuple[Complaint, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether there is no problem; there may be advice."""
        return all(complaint.level != "problem" for complaint in self.complaints)


@attrs.frozen
class _Seen:
    """A store as it is now; what the complaints are made from."""

    engine: Engine
    tx: Session
    now: Micros
    waiting: tuple[Waiting, ...]
    queues: Mapping[str, QueueInfo]
    live: tuple[WorkerInfo, ...]
    dead: tuple[WorkerInfo, ...]


def diagnose(engine: Engine, unreachable: Mapping[str, str] | None = None) -> Diagnosis:
    """Look a store over; changes nothing.

    Args:
        unreachable: settings that lead nowhere, such as modules that cannot be imported, each with the reason.
    """
    with engine.read() as tx:
        seen = _look(engine, tx)
        found = [complaint for look in _LOOKS for complaint in look(seen)]
        version = stored_version(tx)
    found += [
        Complaint("problem", f"{setting}: {reason}", "correct the setting, or what it names")
        for setting, reason in (unreachable or {}).items()
    ]
    ordered = sorted(found, key=lambda complaint: complaint.level != "problem")
    return Diagnosis(version, seen.live, seen.dead, tuple(ordered))


def _look(engine: Engine, tx: Session) -> _Seen:
    now = tx.now()
    workers = engine.workers.all(tx)
    live = live_workers(workers, now)
    dead = tuple(worker for worker in workers if worker not in live)
    queues = {queue.name: queue for queue in engine.views.queues(tx)}
    return _Seen(engine, tx, now, tuple(engine.health.waiting(tx)), queues, tuple(live), dead)


def _damage(seen: _Seen) -> Iterator[Complaint]:
    remedy = "stop every worker and restore the store from a backup; flowkit check --store says what else is wrong"
    try:
        lines = seen.engine.health.damage(seen.tx)
    except DataCorrupted as error:
        lines = [str(error)]
    for line in lines:
        yield Complaint("problem", f"the file is damaged: {line}", remedy)


def _unserved(seen: _Seen) -> Iterator[Complaint]:
    if not seen.live and seen.waiting:
        waiting = sum(one.count for one in seen.waiting)
        yield Complaint("problem", f"{_steps(waiting)} open and no worker runs", "start one: flowkit worker")
        return
    nobody = [one for one in seen.waiting if not any(worker.serves(one.kind, one.queue) for worker in seen.live)]
    for kind, group in _by_kind(nobody).items():
        one = group[0]
        count = sum(each.count for each in group)
        known = seen.engine.catalog.kind(seen.tx, kind)
        where = f"; it was registered from module {known.module!r}" if known else ""
        elsewhere = any(kind in worker.kinds for worker in seen.live)
        served = f"kind {kind!r}" + (f" from queue {one.queue!r}" if elsewhere else "")
        what = f"no live worker serves {served}: {_steps(count)} open, such as {one.run_id}/{one.step_id}"
        module = f"start a worker with the module that has its executor{where}"
        yield Complaint("problem", what, "start a worker that takes steps from this queue" if elsewhere else module)


def _by_kind(waiting: Iterable[Waiting]) -> dict[str, list[Waiting]]:
    groups: dict[str, list[Waiting]] = {}
    for one in waiting:
        groups.setdefault(one.kind, []).append(one)
    return groups


def _hung(seen: _Seen) -> Iterator[Complaint]:
    for worker in seen.live:
        if not worker.hung:
            continue
        held = sum(worker.hung.values())
        slots = "1 slot" if worker.slots == 1 else f"{worker.slots} slots"
        kinds = ", ".join(f"{kind!r} ({count})" for kind, count in sorted(worker.hung.items()))
        what = f"worker {worker.id!r} (host {worker.host}, process {worker.pid}): {held} of its {slots}"
        why = f"{'is' if held == 1 else 'are'} held by attempts that were given up and have not ended: kind {kinds}"
        remedy = "restart it; let such executors look at step.canceled, or have them killed in time with pool='process'"
        yield Complaint("problem" if worker.is_blocked else "advice", f"{what} {why}", remedy)


def _stuck(seen: _Seen) -> Iterator[Complaint]:
    for lease in seen.engine.health.stuck(seen.tx, seen.now - STUCK_SECONDS * SECOND):
        age = (seen.now - lease.expired_at) // SECOND
        what = f"the lease of {lease.run_id}/{lease.step_id} ({lease.kind}) ran out {age} s ago"
        remedy = "any running worker of this store takes it back: start one"
        if seen.live:
            remedy = "the workers that run have not taken it back: look at their logs, or retry the step with --force"
        yield Complaint("problem", f"{what}; worker {lease.worker_id!r} held it", remedy)


def _dead(seen: _Seen) -> Iterator[Complaint]:
    for worker in seen.dead:
        age = max(0, seen.now - worker.seen_at) // SECOND
        what = f"worker {worker.id!r} (host {worker.host}, process {worker.pid}) died; it was last seen {age} s ago"
        yield Complaint("advice", what, "see why in its log; its steps go to others once their leases run out")


def _paused(seen: _Seen) -> Iterator[Complaint]:
    for queue in seen.queues.values():
        waiting = queue.ready + queue.delayed
        if queue.paused and waiting:
            what = f"queue {queue.name!r} is paused, and {_steps(waiting)} ready in it"
            yield Complaint("problem", what, f"flowkit queues resume {queue.name}")


def _unused(seen: _Seen) -> Iterator[Complaint]:
    used = seen.engine.health.used_queues(seen.tx)
    for queue in seen.queues.values():
        if queue.name not in used and (queue.max_workers is not None or queue.rate_limit is not None or queue.paused):
            what = f"queue {queue.name!r} is configured, but no step was ever in it"
            yield Complaint("advice", what, f"is the name right? steps were in {_listed(used)}")


def _slow(seen: _Seen) -> Iterator[Complaint]:
    for queue in seen.queues.values():
        waiting = queue.ready + queue.delayed + queue.pending
        if queue.rate_limit is None or not waiting:
            continue
        needed = waiting / queue.rate_limit.rate_per_second
        if needed > SLOW_SECONDS:
            rate = f"{queue.rate_limit.rate_per_second:g} a second"
            what = f"queue {queue.name!r} starts {rate}: what waits in it needs {needed / SLOW_SECONDS:.1f} days"
            yield Complaint("advice", what, "raise its rate_limit, if that is not meant")


def _held_log(seen: _Seen) -> Iterator[Complaint]:
    size = seen.engine.health.log_bytes(seen.tx)
    if size > LOG_BYTES:
        what = f"the write-ahead log has {size >> 20} MiB: it cannot shrink while a reader keeps a transaction open"
        remedy = "end what reads the file for so long (a shell, a backup, a report); then the log shrinks by itself"
        yield Complaint("advice", what, remedy)


_LOOKS: tuple[Callable[[_Seen], Iterator[Complaint]], ...] = (
    _damage,
    _unserved,
    _hung,
    _stuck,
    _paused,
    _dead,
    _unused,
    _slow,
    _held_log,
)


def _steps(count: int) -> str:
    return "1 step is" if count == 1 else f"{count} steps are"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)[:5]) or "none yet"
