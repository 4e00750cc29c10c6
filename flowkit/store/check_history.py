"""The invariants that need a run's history or its whole graph at once: replayed, merged and walked run by run."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from flowkit.clock import SECOND, Micros
from flowkit.model.limits import MILLI, QueueConfig, RateLimit
from flowkit.store.check_rows import Problem
from flowkit.store.check_windows import EVERYTHING, Window
from flowkit.store.database import Session
from flowkit.store.fold import ATTEMPT_ENDS, Folded, fold, places_of
from flowkit.store.keys import first_key, last_key, place_of


def histories(tx: Session, window: Window = EVERYTHING) -> Iterator[Problem]:
    """Replay each run's history and compare what it comes to with the rows: I14 and I26."""
    runs = "SELECT key, id, status, events FROM runs WHERE key BETWEEN ? AND ? ORDER BY key"
    for run, run_id, status, events in tx.script(runs, (window.first, window.last)):
        entries, gap = _entries(tx, run, events)
        if gap is not None:
            yield "I26", (run_id, gap)
            continue
        folded = fold(entries)
        yield from (("I14", (run_id, text)) for text in folded.late)
        yield from (("I26", (run_id, text)) for text in folded.problems)
        if folded.run.value != status:
            yield "I26", (run_id, f"the run is {status}, its history says {folded.run.value}")
        yield from (("I26", (run_id, text)) for text in _differences(tx, run, folded))


def _entries(tx: Session, run: int, events: int) -> tuple[list[Any], str | None]:
    entries: list[Any] = []
    rows = tx.script("SELECT first_seq, count, body FROM history WHERE run = ? ORDER BY first_seq", (run,))
    for first, count, body in rows:
        listed = json.loads(body)
        if first != len(entries) or count != len(listed):
            return [], f"at entry {len(entries)} lies {first} with {count} entries, {len(listed)} of them there"
        entries += listed
    return entries, None if len(entries) == events else f"{len(entries)} entries are stored, the run counts {events}"


def _differences(tx: Session, run: int, folded: Folded) -> Iterator[str]:
    left = dict(folded.steps)
    sql = "SELECT key, id, status, epoch, parent FROM steps WHERE key BETWEEN ? AND ?"
    for key, step_id, status, epoch, parent in tx.script(sql, (first_key(run), last_key(run))):
        place = place_of(key)
        replayed = left.pop(place, None)
        told = (replayed.value if replayed else "not there", folded.epochs.get(place, 0), folded.parents.get(place))
        stored = (status, epoch, place_of(parent) if parent is not None else None)
        if told != stored:
            yield f"step {step_id!r} is {stored}, its history says {told}"
    yield from (f"the history has a step at place {place}, which is not there" for place in left)


def circles(tx: Session, window: Window = EVERYTHING) -> Iterator[Problem]:
    """Find runs in which steps wait for each other in a circle: I23."""
    runs = "SELECT key, id FROM runs WHERE edges > 0 AND key BETWEEN ? AND ? ORDER BY key"
    sql = "SELECT target, waiter FROM deps WHERE waiter BETWEEN ? AND ?"
    for run, run_id in tx.script(runs, (window.first, window.last)):
        waiters: dict[int, list[int]] = {}
        blockers: dict[int, int] = {}
        for target, waiter in tx.script(sql, (first_key(run), last_key(run))):
            waiters.setdefault(target, []).append(waiter)
            blockers[waiter] = blockers.get(waiter, 0) + 1
        free = deque(node for node in waiters if node not in blockers)
        while free:
            for waiter in waiters.get(free.popleft(), ()):
                blockers[waiter] -= 1
                if not blockers[waiter]:
                    free.append(waiter)
        yield from (("I23", (run_id, place_of(node))) for node, count in blockers.items() if count)


@attrs.define
class _Leases:
    """From when to when each lease of a queue was held, by all that the histories tell."""

    spans: dict[str, list[tuple[Micros, Micros]]] = attrs.field(factory=dict)
    starts: dict[str, list[Micros]] = attrs.field(factory=dict)


def limits_kept(tx: Session, limits: Mapping[str, QueueConfig]) -> Iterator[Problem]:
    """Find queues that had more leases at once, or more starts in some window, than their limits allow: I18, I19.

    Args:
        limits: by queue, limits that held all the time; and the clock was not set back, for times are what is merged.
    """
    told = _leases(tx, limits)
    for queue, config in limits.items():
        peak, at = _peak(told.spans.get(queue, ()))
        if config.max_workers is not None and peak > config.max_workers:
            yield "I18", (queue, peak, at)
        if config.rate_limit is not None:
            yield from (("I19", (queue, at)) for at in _overdrawn(told.starts.get(queue, ()), config.rate_limit))


def _leases(tx: Session, queues: Mapping[str, Any]) -> _Leases:
    told = _Leases()
    of_step = "SELECT s.key, l.queue FROM steps s JOIN lanes l ON l.id = s.lane WHERE s.key BETWEEN ? AND ?"
    for (run,) in tx.script("SELECT key FROM runs WHERE started_at IS NOT NULL"):
        queue_of = {place_of(key): queue for key, queue in tx.script(of_step, (first_key(run), last_key(run)))}
        since: dict[int, Micros] = {}
        for at, body in tx.script("SELECT at, body FROM history WHERE run = ? ORDER BY first_seq", (run,)):
            for entry in json.loads(body):
                for place in places_of(entry[1]) if entry[0] == "step_leased" else ():
                    since[place] = at
                    told.starts.setdefault(queue_of[place], []).append(at)
                for place in places_of(entry[1]) if entry[0] in ATTEMPT_ENDS else ():
                    told.spans.setdefault(queue_of[place], []).append((since.pop(place), at))
        for place, at in since.items():
            told.spans.setdefault(queue_of[place], []).append((at, 1 << 62))
    return told


def _peak(spans: Any) -> tuple[int, Micros]:
    # What ends at an instant makes room for what starts then: a cycle settles before it leases.
    lasting = [(start, end) for start, end in spans if end > start]
    turns = sorted([(start, 1) for start, _ in lasting] + [(end, -1) for _, end in lasting])
    held = peak = when = 0
    for at, change in turns:
        held += change
        if held > peak:
            peak, when = held, at
    return peak, when


def _overdrawn(starts: Any, limit: RateLimit) -> Iterator[Micros]:
    # A full bucket that is never overdrawn is the same as: no window of W seconds has more than burst + rate * W.
    full = limit.burst * MILLI * SECOND
    level, before = full, 0
    for at in sorted(starts):
        level = min(full, level + (at - before) * limit.milli_per_second) - MILLI * SECOND
        before = at
        if level < 0:
            yield at
