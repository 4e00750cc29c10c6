"""Mends what was forgotten at the end of steps: cascades, and the status of runs that follows from their steps."""

from __future__ import annotations

import json
from typing import Any

from flowkit.clock import Micros
from flowkit.store.check_rows import COUNTED, DEAD, STATUS_OF_RUN
from flowkit.store.check_windows import Window
from flowkit.store.database import Session
from flowkit.store.fold import fold
from flowkit.store.keys import place_of, run_of

# Required edges lead to a step, or to a gate and from there to its members. Of several culprits the first is named.
_CULPRITS = f"""SELECT x.waiter, t.id FROM (
  SELECT waiter, MIN(target) AS target FROM (
    SELECT d.waiter, d.target FROM deps d JOIN steps t ON t.key = d.target
    WHERE d.role = 1 AND t.status IN {DEAD}
    UNION ALL
    SELECT d.waiter, m.target FROM deps d JOIN deps m ON m.waiter = d.target AND m.role = 2
    JOIN steps t ON t.key = m.target WHERE d.role = 1 AND t.status IN {DEAD}
  ) dead GROUP BY waiter
) x JOIN steps s ON s.key = x.waiter JOIN steps t ON t.key = x.target JOIN runs r ON r.key = s.run
WHERE s.status = 'pending' AND r.status IN ('pending', 'running')"""

_CANCEL = "UPDATE steps SET status = 'canceled', reason = ?, ended_at = ? WHERE key = ? AND status = 'pending'"
_WRONG = f"""{COUNTED}SELECT key, {STATUS_OF_RUN}, n_steps, n_open, n_failed, n_by_run, n_edges
FROM run WHERE status <> {STATUS_OF_RUN}"""
# The counters with it: an ended run with a counter that says that a step is open is refused by the table itself.
_SET_STATUS = """UPDATE runs SET status = ?, updated_at = ?,
ended_at = CASE WHEN ? = 1 THEN COALESCE(ended_at, ?) END,
steps = ?, open_steps = ?, failed_steps = ?, canceled_by_run = ?, edges = ? WHERE key = ?"""
_COUNT_EVENT = "UPDATE runs SET events = events + 1, updated_at = ? WHERE key = ? RETURNING events"
_HISTORY = "INSERT INTO history (run, first_seq, count, at, worker, body) VALUES (?, ?, 1, ?, NULL, ?)"
_ENDED = ("succeeded", "failed", "canceled")


def cancel_forgotten(tx: Session, window: Window) -> int:
    """Cancel steps that wait for something dead, and what requires them in turn; returns how many."""
    now, canceled = tx.now(), 0
    while dead := tx.script(window.over(_CULPRITS, tx.dialect.schema)):
        for key, culprit in sorted(dead):
            reason = f"dependency:{culprit}"
            tx.script(_CANCEL, (reason, now, key))
            add_entry(tx, run_of(key), ("step_canceled", place_of(key), None, {"reason": reason}), now)
        canceled += len(dead)
    return canceled


def end_forgotten(tx: Session, window: Window) -> int:
    """Give runs the status that follows from their steps, where their history comes to it or can end with it."""
    now, mended = tx.now(), 0
    for run, status, *counts in tx.script(window.over(_WRONG, tx.dialect.schema)):
        told = _told(tx, run)
        if told != status and status in _ENDED and told not in _ENDED:
            add_entry(tx, run, ("run_finished", None, None, {"status": status}), now)
        elif told != status:
            continue
        tx.script(_SET_STATUS, (status, now, int(status in _ENDED), now, *counts, run))
        mended += 1
    return mended


def add_entry(tx: Session, run: int, entry: tuple[Any, ...], now: Micros) -> None:
    """Add an entry to a run's history."""
    events = tx.script(_COUNT_EVENT, (now, run))[0][0]
    tx.script(_HISTORY, (run, events - 1, now, json.dumps([entry])))


def _told(tx: Session, run: int) -> str:
    rows = tx.script("SELECT body FROM history WHERE run = ? ORDER BY first_seq", (run,))
    return fold([entry for (body,) in rows for entry in json.loads(body)]).run.value
