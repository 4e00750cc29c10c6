"""Mends what follows from the steps: counters, and promotions, cascades and ends of runs that were forgotten."""

from __future__ import annotations

import attrs

from flowkit.clock import Micros
from flowkit.model.plan import spans_of
from flowkit.store.check_ends import add_entry, cancel_forgotten, end_forgotten
from flowkit.store.check_rows import COUNTED, NEEDS
from flowkit.store.check_windows import EVERYTHING, Window
from flowkit.store.database import Session
from flowkit.store.keys import place_of, run_of


@attrs.frozen
class Mended:
    """What was set right: what it is, and in how many rows."""

    what: str
    count: int


_GATES = f"""{NEEDS}SELECT COALESCE(n.open, 0), COALESCE(n.dead, 0), g.key
FROM gates g LEFT JOIN gate n ON n.key = g.key
WHERE g.left_open <> COALESCE(n.open, 0) OR g.failed <> COALESCE(n.dead, 0)"""

_WAITING = f"""{NEEDS}SELECT s.key, COALESCE(n.open, 0) FROM steps s LEFT JOIN needs n ON n.waiter = s.key
WHERE s.status = 'pending' AND s.deps_left <> COALESCE(n.open, 0) AND COALESCE(n.dead, 0) = 0"""

# An ended run with a step to do is more than a wrong count, and the table itself refuses that count.
_RUNS = f"""{COUNTED}SELECT n_steps, n_open, n_failed, n_by_run, n_edges, key FROM run WHERE (open_steps <> n_open
OR failed_steps <> n_failed OR canceled_by_run <> n_by_run OR steps <> n_steps OR edges <> n_edges)
AND (n_open = 0 OR ended_at IS NULL)"""

_PROMOTE = """UPDATE steps SET status = 'ready', deps_left = 0, ready_at = ? + delay, scheduled_at = ?,
delayed_until = CASE WHEN delay > 0 THEN ? + delay END WHERE key = ? AND status = 'pending'"""

_SET_RUN = """UPDATE runs
SET steps = ?, open_steps = ?, failed_steps = ?, canceled_by_run = ?, edges = ? WHERE key = ?"""
_REMEMBER = "UPDATE meta SET number = number + ? WHERE key = 'repairs'"


def repair(tx: Session, window: Window = EVERYTHING) -> list[Mended]:
    """Make up for what was forgotten, and count again what is only a count; says what it did.

    What waits for nothing is promoted, what waits for something dead is canceled, a run whose steps have ended ends.
    What nothing can be counted from, such as a lost result, stays as it is: ``check`` names it, a backup has it. The
    store keeps count of all that was ever mended in it (I25).

    Args:
        tx: a transaction.
        window: the runs to look at; ``windows`` cuts a long store into some that hold up writers for a moment only.
    """
    if not tx.dialect.one_writer:
        # As every transaction that changes a run or its steps does first.
        locking = "SELECT key FROM runs WHERE key BETWEEN ? AND ? ORDER BY key FOR NO KEY UPDATE"
        tx.script(locking, (window.first, window.last))
    canceled = cancel_forgotten(tx, window)
    gates = tx.script(window.over(_GATES, tx.dialect.schema))
    for row in gates:
        tx.script("UPDATE gates SET left_open = ?, failed = ? WHERE key = ?", row)
    waiting = tx.script(window.over(_WAITING, tx.dialect.schema))
    for key, left in waiting:
        if left:
            tx.script("UPDATE steps SET deps_left = ? WHERE key = ?", (left, key))
    promoted = [key for key, left in waiting if not left]
    _promote(tx, promoted, tx.now())
    ended = end_forgotten(tx, window)
    runs = tx.script(window.over(_RUNS, tx.dialect.schema))
    for row in runs:
        tx.script(_SET_RUN, row)
    counts = {
        "steps canceled": canceled,
        "gates counted again": len(gates),
        "waiting steps counted again": len(waiting) - len(promoted),
        "steps promoted": len(promoted),
        "runs counted again": len(runs),
        "runs given their status": ended,
    }
    mended = [Mended(what, count) for what, count in counts.items() if count]
    if mended:
        tx.script(_REMEMBER, (sum(one.count for one in mended),))
    return mended


def _promote(tx: Session, keys: list[int], now: Micros) -> None:
    by_run: dict[int, list[int]] = {}
    for key in sorted(keys):
        tx.script(_PROMOTE, (now, now, now, key))
        by_run.setdefault(run_of(key), []).append(place_of(key))
    for run, places in by_run.items():
        add_entry(tx, run, ("step_promoted", spans_of(places), None), now)
