"""What brings a store from one version of the schema to the next, written for the tables as they were then."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowkit.store.database import Session

VERSION = 2
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


STEPS: Mapping[int, Step] = {2: _name_artifacts}
"""What brings a store from the version before to this one; each is one transaction."""

DESTRUCTIVE: frozenset[int] = frozenset()
"""The versions whose step removes something that the one before had; a copy of the store is kept first."""
