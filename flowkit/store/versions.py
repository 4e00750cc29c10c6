"""What brings a store from one version of the schema to the next, written for the tables as they were then."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowkit.store.database import Session

VERSION = 3
"""The present version."""

Step = Callable[[Session], None]


def _name_artifacts(session: Session) -> None:
    # Until then a step that stored equal bytes under two names kept the last name alone.
    if session.dialect.name == "postgresql":
        session.script("ALTER TABLE artifacts DROP CONSTRAINT artifacts_pkey, ADD PRIMARY KEY (step, id, name)")
        return
    triggers = session.script("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'artifacts'")
    # Not renamed: a view of the program's on this table would keep it from that.
    session.script("CREATE TABLE artifacts_1 AS SELECT * FROM artifacts")
    session.script("DROP TABLE artifacts")
    session.script(
        'CREATE TABLE "artifacts" ("step" INTEGER NOT NULL, "id" TEXT NOT NULL, "run" INTEGER NOT NULL, '
        '"epoch" INTEGER NOT NULL, "name" TEXT NOT NULL, "kind" TEXT NOT NULL, "content_type" TEXT, '
        '"size" INTEGER NOT NULL, "sha256" BLOB NOT NULL, "body" BLOB, "metadata" TEXT, '
        '"created_at" INTEGER NOT NULL, "place" INTEGER NOT NULL, PRIMARY KEY ("step", "id", "name"), '
        'FOREIGN KEY ("step") REFERENCES "steps" ("key") ON DELETE CASCADE)'
    )
    session.script("INSERT INTO artifacts SELECT * FROM artifacts_1")
    session.script("DROP TABLE artifacts_1")
    session.script('CREATE INDEX "artifacts_run_id" ON "artifacts" ("run", "id")')
    for (sql,) in triggers:
        session.script(sql)


_KEPT_3: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "runs": (
        (
            "status text, ended_at bigint, cancel_requested_at bigint, steps integer, open_steps integer, "
            "failed_steps integer, canceled_by_run integer"
        ),
        (
            (
                "(status = 'pending' OR status = 'running' OR status = 'canceling' OR status = 'succeeded' OR "
                "status = 'failed' OR status = 'canceled')"
            ),
            "open_steps >= 0 AND failed_steps >= 0 AND canceled_by_run >= 0 AND open_steps <= steps",
            "(status = 'canceled' OR status = 'failed' OR status = 'succeeded') = (ended_at IS NOT NULL)",
            "NOT (status = 'canceled' OR status = 'failed' OR status = 'succeeded') OR open_steps = 0",
            "status <> 'canceling' OR cancel_requested_at IS NOT NULL",
        ),
    ),
    "steps": (
        (
            "status text, reason text, attempt integer, max_attempts integer, token text, worker text, "
            "expires_at bigint, started_at bigint, ended_at bigint, delayed_until bigint, deps_left integer"
        ),
        (
            (
                "(status = 'pending' OR status = 'ready' OR status = 'running' OR status = 'succeeded' OR "
                "status = 'failed' OR status = 'canceled')"
            ),
            "(status = 'running') = (token IS NOT NULL)",
            "(status = 'running') = (worker IS NOT NULL)",
            "(status = 'running') = (expires_at IS NOT NULL)",
            "(status = 'running') = (started_at IS NOT NULL)",
            "(status = 'canceled' OR status = 'failed' OR status = 'succeeded') = (ended_at IS NOT NULL)",
            "(status = 'canceled') = (reason IS NOT NULL)",
            "status <> 'pending' OR deps_left > 0",
            "NOT (status = 'ready' OR status = 'running' OR status = 'succeeded') OR deps_left = 0",
            "delayed_until IS NULL OR status = 'ready'",
            "attempt BETWEEN 0 AND max_attempts",
            "expires_at IS NULL OR expires_at >= started_at",
        ),
    ),
    "results": (
        "started_at bigint, ended_at bigint, body bytea, sha256 bytea",
        ("ended_at >= started_at", "(body IS NULL) = (sha256 IS NULL)"),
    ),
    "attempts": (
        "started_at bigint, ended_at bigint, outcome text",
        (
            "outcome IN ('retried', 'failed', 'lost', 'released', 'fenced', 'discarded')",
            "ended_at >= started_at",
        ),
    ),
}
"""What rows keep since version 3 in PostgreSQL: by table the columns that it is about, and the conditions."""

_NUMBERED_2 = {"runs": 4, "steps": 11, "results": 2, "attempts": 1}
"""How many constraints of the second version have numbers for names there."""


def _check_by_functions(session: Session) -> None:
    # Until then PostgreSQL prepared every condition anew for every statement that wrote to a table.
    if session.dialect.name != "postgresql":
        return
    for table, (typed, conditions) in _KEPT_3.items():
        condition = " AND ".join(f"({one})" for one in conditions)
        columns = ", ".join(argument.split()[0] for argument in typed.split(", "))
        numbered = [f"{table}_check{number or ''}" for number in range(_NUMBERED_2[table])]
        known = [*numbered, f"{table}_status_check", f"{table}_outcome_check"]
        dropped = ", ".join(f"DROP CONSTRAINT IF EXISTS {name}" for name in known)
        session.script(
            f"CREATE OR REPLACE FUNCTION {table}_are_sound({typed}) RETURNS boolean LANGUAGE plpgsql IMMUTABLE "
            f"AS $$ BEGIN RETURN {condition}; END $$"
        )
        session.script(f"ALTER TABLE {table} {dropped}, ADD CHECK ({table}_are_sound({columns}))")


STEPS: Mapping[int, Step] = {2: _name_artifacts, 3: _check_by_functions}
"""What brings a store from the version before to this one; each is one transaction."""

DESTRUCTIVE: frozenset[int] = frozenset()
"""The versions whose step removes something that the one before had; a copy of the store is kept first."""
