"""The invariants that are one question to the tables each: a sound store answers every one of them with no rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from flowkit.store.check_windows import EVERYTHING, Window
from flowkit.store.database import Row, Session
from flowkit.store.keys import MAX_NODES

EXAMPLES = 5
"""How many rows of a broken invariant are shown."""

Problem = tuple[str, Row]
"""Which invariant is broken, and a row that shows it."""


@attrs.frozen
class Invariant:
    """Something that holds after every commit, whatever died in between.

    Attributes:
        name: its number, which documents and tests use.
        title: what it looks like when it does not hold.
        sql: selects what breaks it.
    """

    name: str
    title: str
    sql: str

    def broken(self, tx: Session, window: Window = EVERYTHING) -> tuple[tuple[Row, ...], int]:
        """Return a few of the rows that break it, and how many there are."""
        schema = tx.dialect.schema
        examples = tuple(tx.script(window.over(f"{self.sql} LIMIT {EXAMPLES}", schema)))
        if len(examples) < EXAMPLES:
            return examples, len(examples)
        return examples, int(tx.script(window.over(f"SELECT COUNT(*) FROM ({self.sql}) AS broken", schema))[0][0])


OPEN, DEAD = "('pending', 'ready', 'running')", "('failed', 'canceled')"
_ATTEMPTED = "CASE WHEN s.status IN ('running', 'succeeded') THEN 1 ELSE 0 END"

# Members are counted once for each gate: a group of 10,000 with 10,000 waiters is 20,000 rows and not their product.
NEEDS = f"""WITH gate AS (
  SELECT d.waiter AS key, COUNT(CASE WHEN t.status IN {OPEN} THEN 1 END) AS open,
    COUNT(CASE WHEN t.status IN {DEAD} THEN 1 END) AS dead
  FROM deps d JOIN steps t ON t.key = d.target WHERE d.role = 2 GROUP BY d.waiter
), edge AS (
  SELECT d.waiter, d.role, CASE WHEN t.status IN {OPEN} THEN 1 ELSE 0 END AS open,
    CASE WHEN t.status IN {DEAD} THEN 1 ELSE 0 END AS dead
  FROM deps d JOIN steps t ON t.key = d.target WHERE d.role < 2
  UNION ALL
  SELECT d.waiter, d.role, CASE WHEN g.open > 0 THEN 1 ELSE 0 END, CASE WHEN g.dead > 0 THEN 1 ELSE 0 END
  FROM deps d JOIN gate g ON g.key = d.target WHERE d.role < 2
), needs AS (
  SELECT waiter, SUM(open) AS open, SUM(CASE WHEN role = 1 THEN open ELSE 0 END) AS required,
    SUM(CASE WHEN role = 1 THEN dead ELSE 0 END) AS dead
  FROM edge GROUP BY waiter
)
"""
"""By step: how many dependencies are open, how many of those it requires, and how many required ones are dead."""

COUNTED = f"""WITH counted AS (
  SELECT run, COUNT(*) AS steps, COUNT(CASE WHEN status IN {OPEN} THEN 1 END) AS open,
    COUNT(CASE WHEN status = 'running' THEN 1 END) AS running,
    COUNT(CASE WHEN status = 'failed' AND allow_failure = 0 THEN 1 END) AS failed,
    COUNT(CASE WHEN status = 'canceled' AND reason = 'run' THEN 1 END) AS by_run
  FROM steps GROUP BY run
), waits AS (
  SELECT waiter / {MAX_NODES} AS run, COUNT(*) AS edges FROM deps GROUP BY waiter / {MAX_NODES}
), run AS (
  SELECT r.*, COALESCE(c.steps, 0) AS n_steps, COALESCE(c.open, 0) AS n_open, COALESCE(c.running, 0) AS n_running,
    COALESCE(c.failed, 0) AS n_failed, COALESCE(c.by_run, 0) AS n_by_run, COALESCE(w.edges, 0) AS n_edges
  FROM runs r LEFT JOIN counted c ON c.run = r.key LEFT JOIN waits w ON w.run = r.key
)
"""
"""The runs with what their counters should be."""

_CLOSED = """WITH closed AS (
  SELECT step, generation, COUNT(CASE WHEN outcome <> 'released' THEN 1 END) AS charged
  FROM attempts GROUP BY step, generation
), leases AS (
  SELECT step, COUNT(*) AS closed FROM attempts GROUP BY step
)
"""
_STEP = "SELECT s.run, s.id, s.status FROM steps s"
_NEEDY = f"{NEEDS}{_STEP} JOIN needs n ON n.waiter = s.key"

_NO_OWNER = f"{_STEP} WHERE s.status = 'running' AND (s.token IS NULL OR s.expires_at IS NULL)"
_IDLE_OWNER = f"{_STEP} WHERE s.status <> 'running' AND COALESCE(s.token, s.worker) IS NOT NULL"
_EARLY = f"{_NEEDY} WHERE s.status NOT IN ('pending', 'canceled') AND n.required + n.dead > 0"

_FORGOTTEN_REVIVAL = f"""{_NEEDY} LEFT JOIN steps t
ON t.run = s.run AND s.reason = 'dependency:' || t.id AND t.status IN {DEAD}
WHERE s.status = 'canceled' AND s.reason <> 'run' AND (n.dead = 0 OR t.key IS NULL)"""

_NO_LANE = f"{_STEP} LEFT JOIN lanes l ON l.id = s.lane WHERE l.id IS NULL"

_NO_RESULT = f"""{_STEP} LEFT JOIN results r
ON r.step = s.key AND r.generation = s.generation AND r.attempt = s.attempt AND r.epoch = s.epoch
AND r.ended_at = s.ended_at
WHERE s.status = 'succeeded' AND r.step IS NULL"""

_NO_SUCCESS = """SELECT r.step, s.status FROM results r LEFT JOIN steps s ON s.key = r.step
WHERE s.key IS NULL OR s.status <> 'succeeded'"""

_FORGOTTEN = f"""{NEEDS}{_STEP} LEFT JOIN needs n ON n.waiter = s.key
WHERE s.status = 'pending' AND COALESCE(n.open + n.dead, 0) = 0"""

_GATE_DRIFT = f"""{NEEDS}SELECT g.key, g.left_open, g.failed FROM gates g LEFT JOIN gate n ON n.key = g.key
WHERE g.left_open <> COALESCE(n.open, 0) OR g.failed <> COALESCE(n.dead, 0)"""

_DANGLING = """SELECT d.target, d.waiter, d.role FROM deps d
LEFT JOIN steps t ON t.key = d.target LEFT JOIN gates tg ON tg.key = d.target
LEFT JOIN steps w ON w.key = d.waiter LEFT JOIN gates wg ON wg.key = d.waiter
WHERE d.role NOT IN (0, 1, 2) OR (t.key IS NULL AND (tg.key IS NULL OR d.role = 2))
OR (d.role = 2 AND wg.key IS NULL) OR (d.role <> 2 AND w.key IS NULL)"""

_OUTSIDE = f"""SELECT x.kind, x.key, x.run FROM (
  SELECT 'step' AS kind, s.key, s.run, s.key - s.run * {MAX_NODES} AS place FROM steps s
  UNION ALL SELECT 'gate', g.key, g.key / {MAX_NODES}, g.key % {MAX_NODES} FROM gates g
  UNION ALL SELECT 'waiter', d.waiter, d.target / {MAX_NODES}, d.waiter - (d.target / {MAX_NODES}) * {MAX_NODES}
  FROM deps d
) x LEFT JOIN runs r ON r.key = x.run WHERE r.key IS NULL OR x.place < 0 OR x.place >= r.nodes"""

_ORPHAN = f"""{_STEP} LEFT JOIN steps p ON p.key = s.parent
WHERE s.parent IS NOT NULL AND (p.key IS NULL OR p.status <> 'succeeded' OR p.run <> s.run)"""

STATUS_OF_RUN = """CASE
  WHEN n_open > 0 AND cancel_requested_at IS NOT NULL THEN 'canceling'
  WHEN n_open > 0 AND started_at IS NULL AND generation = 0 THEN 'pending'
  WHEN n_open > 0 THEN 'running'
  WHEN cancel_requested_at IS NOT NULL THEN 'canceled'
  WHEN n_failed > 0 THEN 'failed'
  WHEN n_by_run > 0 THEN 'canceled'
  ELSE 'succeeded' END"""
"""The status that follows from a run's steps."""

_WRONG_STATUS = f"""{COUNTED}SELECT id, status, n_open, n_failed, n_by_run FROM run WHERE status <> {STATUS_OF_RUN}
OR (status = 'canceling' AND n_open <> n_running)"""

_COUNTER_DRIFT = f"""{COUNTED}SELECT id, open_steps, n_open, failed_steps, n_failed, canceled_by_run, n_by_run, steps,
n_steps, edges, n_edges FROM run WHERE open_steps <> n_open OR failed_steps <> n_failed
OR canceled_by_run <> n_by_run OR steps <> n_steps OR edges <> n_edges"""

_BUDGET = f"""{_CLOSED}SELECT s.run, s.id, s.attempt, c.charged FROM steps s
LEFT JOIN closed c ON c.step = s.key AND c.generation = s.generation
WHERE s.attempt > s.max_attempts OR s.attempt <> COALESCE(c.charged, 0) + {_ATTEMPTED}"""

_EPOCHS = """SELECT x.step, x.epoch, x.generation FROM (
  SELECT step, epoch, generation FROM attempts UNION ALL SELECT step, epoch, generation FROM results
) x JOIN steps s ON s.key = x.step LEFT JOIN attempts b ON b.step = x.step AND b.epoch < x.epoch
WHERE x.epoch < 1 OR x.epoch > s.epoch OR x.generation > s.generation OR b.generation > x.generation"""

_VANISHED = f"""{_CLOSED}SELECT s.run, s.id, s.epoch, c.closed FROM steps s LEFT JOIN leases c ON c.step = s.key
WHERE s.epoch <> COALESCE(c.closed, 0) + {_ATTEMPTED}"""

_OPEN_ATTEMPT = f"""{_STEP} LEFT JOIN attempts a ON a.step = s.key AND a.epoch = s.epoch
WHERE s.status = 'running' AND (s.worker IS NULL OR s.started_at IS NULL OR a.step IS NOT NULL)"""

_OUTPUT_OWNER = """SELECT x.step, x.epoch, x.name FROM (
  SELECT step, epoch, name FROM records UNION ALL SELECT step, epoch, name FROM artifacts
) x LEFT JOIN results r ON r.step = x.step AND r.epoch = x.epoch WHERE r.step IS NULL"""

_TIMES_ORDER = """SELECT 'steps' AS place, key AS found FROM steps WHERE expires_at < started_at
UNION ALL SELECT 'results', step FROM results WHERE ended_at < started_at
UNION ALL SELECT 'attempts', step FROM attempts WHERE ended_at < started_at OR ended_at IS NULL"""

_TIMES: Mapping[str, tuple[str, ...]] = {
    "runs": ("created_at", "started_at", "ended_at", "updated_at", "cancel_requested_at"),
    "steps": ("created_at", "scheduled_at", "started_at", "ended_at", "expires_at", "ready_at", "delayed_until"),
    "results": ("started_at", "ended_at"),
    "attempts": ("started_at", "ended_at"),
    "records": ("created_at",),
    "artifacts": ("created_at",),
    "history": ("at",),
}


def _no_integer(times: Mapping[str, Iterable[str]]) -> str:
    # SQLite keeps a text in an integer column if it is given one, and compares it with numbers by its type.
    return " UNION ALL ".join(
        f"SELECT '{table}.{column}' AS place, {column} AS found FROM {table} WHERE {column} <> CAST({column} AS BIGINT)"
        for table, columns in times.items()
        for column in columns
    )


INVARIANTS: tuple[Invariant, ...] = (
    Invariant("I1", "running without owner", _NO_OWNER),
    Invariant("I2", "owner without running", _IDLE_OWNER),
    Invariant("I3", "succeeded without result", _NO_RESULT),
    Invariant("I4", "result without succeeded", _NO_SUCCESS),
    Invariant("I5", "two results", "SELECT step, COUNT(*) AS found FROM results GROUP BY step HAVING COUNT(*) > 1"),
    Invariant("I6", "early start", _EARLY),
    Invariant("I7", "forgotten promotion", _FORGOTTEN),
    Invariant("I8", "forgotten cascade", f"{_NEEDY} WHERE s.status = 'pending' AND n.dead > 0"),
    Invariant("I8", "forgotten revival", _FORGOTTEN_REVIVAL),
    Invariant("I9", "wrong count of dependencies", f"{_NEEDY} WHERE s.status = 'pending' AND s.deps_left <> n.open"),
    Invariant("I9", "wrong count of a gate's members", _GATE_DRIFT),
    Invariant("I10", "dangling dependency", _DANGLING),
    Invariant("I10", "node outside its run", _OUTSIDE),
    Invariant("I10", "step in no lane", _NO_LANE),
    Invariant("I11", "orphan child", _ORPHAN),
    Invariant("I12", "run status that does not follow from its steps", _WRONG_STATUS),
    Invariant("I13", "wrong counters of a run", _COUNTER_DRIFT),
    Invariant("I15", "attempts charged wrongly", _BUDGET),
    Invariant("I16", "epochs out of order", _EPOCHS),
    Invariant("I16", "lease that ended in nothing", _VANISHED),
    Invariant("I17", "open attempt that is closed, or has no worker or start", _OPEN_ATTEMPT),
    Invariant("I21", "output of no committed attempt", _OUTPUT_OWNER),
    Invariant("I24", "times out of order", _TIMES_ORDER),
    Invariant("I24", "time that is no integer", _no_integer(_TIMES)),
    Invariant("I25", "mended before", "SELECT key, number FROM meta WHERE key = 'repairs' AND number <> 0"),
)
"""I14, I18 to I20, I22, I23 and I26 need more than a query: ``check_history`` and ``check_contents`` have them."""
