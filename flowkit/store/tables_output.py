"""The tables of what attempts hand over: results, closed attempts, records, artifacts, progress, history."""

from __future__ import annotations

from typing import Any

import peewee
from peewee import BigIntegerField, BlobField, IntegerField, TextField


def output_tables(table: Any, steps: Any) -> dict[str, Any]:
    """Return the models of what attempts hand over."""

    def step_key(**options: Any) -> Any:
        return peewee.ForeignKeyField(steps, column_name="step", on_delete="CASCADE", **options)

    records = table(
        "records",
        {
            "key": BigIntegerField(primary_key=True),
            "step": step_key(index=False),
            "epoch": BigIntegerField(),
            "collection": TextField(),
            "name": TextField(),
            "body": BlobField(),
            "sha256": BlobField(),
            "created_at": BigIntegerField(),
        },
        indexes=((("step", "collection", "name"), True), (("collection", "key"), False)),
    )
    return {
        "results": table(
            "results",
            {
                "step": step_key(primary_key=True),
                "generation": IntegerField(),
                "epoch": BigIntegerField(),
                "attempt": IntegerField(),
                "worker": TextField(),
                "started_at": BigIntegerField(),
                "ended_at": BigIntegerField(),
                "body": BlobField(null=True),
                "sha256": BlobField(null=True),
                "emitted": TextField(null=True),
            },
            checks=["ended_at >= started_at", "(body IS NULL) = (sha256 IS NULL)"],
        ),
        "attempts": table(
            "attempts",
            {
                "step": step_key(index=False),
                "epoch": BigIntegerField(),
                "generation": IntegerField(),
                "attempt": IntegerField(),
                "worker": TextField(),
                "started_at": BigIntegerField(),
                "ended_at": BigIntegerField(),
                "outcome": TextField(),
                "error": TextField(null=True),
            },
            primary_key=peewee.CompositeKey("step", "epoch"),
            checks=[
                "outcome IN ('retried', 'failed', 'lost', 'released', 'fenced', 'discarded')",
                "ended_at >= started_at",
            ],
        ),
        "progress": table("progress", {"step": step_key(primary_key=True), "body": TextField()}),
        "records": records,
        "artifacts": table(
            "artifacts",
            {
                "step": step_key(index=False),
                "id": TextField(),
                "run": BigIntegerField(),
                "epoch": BigIntegerField(),
                "name": TextField(),
                "kind": TextField(),
                "content_type": TextField(null=True),
                "size": BigIntegerField(),
                "sha256": BlobField(),
                "body": BlobField(null=True),
                "metadata": TextField(null=True),
                "created_at": BigIntegerField(),
                "place": IntegerField(),
            },
            # The id of bytes in an artifact store is theirs alone, whatever a step calls them.
            primary_key=peewee.CompositeKey("step", "id", "name"),
            indexes=((("run", "id"), False),),
        ),
        "history": table(
            "history",
            {
                "run": BigIntegerField(),
                "first_seq": IntegerField(),
                "count": IntegerField(),
                "at": BigIntegerField(),
                "worker": TextField(null=True),
                "body": TextField(),
            },
            primary_key=peewee.CompositeKey("run", "first_seq"),
            clustered=True,
        ),
    }
