"""The tables, made for one store at a time; CHECK constraints repeat the model's invariants.

All times are integer microseconds. Hot rows are small: a step's input and its result lie in tables beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import peewee
from peewee import SQL, BigIntegerField, BlobField, Check, IntegerField, Model, TextField

from flowkit.model.states import ENDED_RUN, ENDED_STEP, RunStatus, StepStatus
from flowkit.store.dialect import Dialect, SQLiteDialect
from flowkit.store.tables_output import output_tables


@attrs.frozen
class Tables:
    """The model classes of one store."""

    meta: Any
    runs: Any
    run_inputs: Any
    lanes: Any
    queues: Any
    steps: Any
    specs: Any
    deps: Any
    gates: Any
    results: Any
    attempts: Any
    progress: Any
    records: Any
    artifacts: Any
    history: Any
    workers: Any
    kinds: Any
    packages: Any

    def all(self) -> tuple[Any, ...]:
        """Return every model, parents first."""
        return attrs.astuple(self, recurse=False)


def _is(statuses: Iterable[RunStatus | StepStatus]) -> str:
    # For IN with three or more, SQLite makes and fills a table whenever it checks a row.
    return "(" + " OR ".join(f"status = '{status.value}'" for status in statuses) + ")"


_RUN_CHECKS = [
    _is(RunStatus),
    "open_steps >= 0 AND failed_steps >= 0 AND canceled_by_run >= 0 AND open_steps <= steps",
    f"{_is(sorted(ENDED_RUN))} = (ended_at IS NOT NULL)",
    f"NOT {_is(sorted(ENDED_RUN))} OR open_steps = 0",
    "status <> 'canceling' OR cancel_requested_at IS NOT NULL",
]

_STEP_CHECKS = [
    _is(StepStatus),
    "(status = 'running') = (token IS NOT NULL)",
    "(status = 'running') = (worker IS NOT NULL)",
    "(status = 'running') = (expires_at IS NOT NULL)",
    "(status = 'running') = (started_at IS NOT NULL)",
    f"{_is(sorted(ENDED_STEP))} = (ended_at IS NOT NULL)",
    "(status = 'canceled') = (reason IS NOT NULL)",
    "status <> 'pending' OR deps_left > 0",
    f"NOT {_is((StepStatus.READY, StepStatus.RUNNING, StepStatus.SUCCEEDED))} OR deps_left = 0",
    "delayed_until IS NULL OR status = 'ready'",
    "attempt BETWEEN 0 AND max_attempts",
    "expires_at IS NULL OR expires_at >= started_at",
]


def make_tables(dialect: Dialect) -> Tables:
    """Make the model classes for one store; a class shared between stores would send rows to the wrong one."""
    is_sqlite = dialect.name == SQLiteDialect.name
    common = {"database": dialect.database, "legacy_table_names": False, "schema": dialect.namespace}
    base = type("Base", (Model,), {"Meta": type("Meta", (), common)})

    def table(name: str, fields: dict[str, Any], **options: Any) -> Any:
        if options.pop("clustered", False) and is_sqlite:
            options["without_rowid"] = True
        for field in fields.values() if not is_sqlite else ():
            if isinstance(field, TextField):
                # Compared byte by byte, as SQLite does, whatever language the database was made for.
                field.collation = '"C"'
        checks = options.pop("checks", ())
        if checks:
            options["before"], options["constraints"] = dialect.checks(name, fields, checks)
        meta = type("Meta", (), {"table_name": name, **options})
        return type(name.capitalize(), (base,), {**fields, "Meta": meta})

    work = _work_tables(table, is_sqlite=is_sqlite)
    return Tables(**_engine_tables(table), **work, **output_tables(table, work["steps"]))


def _engine_tables(table: Any) -> dict[str, Any]:
    return {
        "meta": table("meta", {"key": TextField(primary_key=True), "number": BigIntegerField()}),
        "lanes": table(
            "lanes",
            {"id": peewee.AutoField(), "queue": TextField(), "kind": TextField()},
            indexes=((("queue", "kind"), True),),
        ),
        "queues": table(
            "queues",
            {
                "name": TextField(primary_key=True),
                "paused": IntegerField(default=0, constraints=[SQL("DEFAULT 0")]),
                "max_workers": IntegerField(null=True),
                "rate_milli": BigIntegerField(null=True),
                "burst": IntegerField(null=True),
                "tokens_nano": BigIntegerField(null=True),
                "refilled_at": BigIntegerField(null=True),
                "configured_by": TextField(null=True),
            },
        ),
        "workers": table(
            "workers",
            {
                "id": TextField(primary_key=True),
                "host": TextField(),
                "pid": BigIntegerField(),
                "born": TextField(),
                "kinds": TextField(),
                "started_at": BigIntegerField(),
                "seen_at": BigIntegerField(),
            },
        ),
        "kinds": table("kinds", {"kind": TextField(primary_key=True), **_catalog_fields(), "result": TextField()}),
        "packages": table(
            "packages",
            {"name": TextField(primary_key=True), **_catalog_fields(), "display_name": TextField(null=True)},
        ),
    }


def _catalog_fields() -> dict[str, Any]:
    return {
        "module": TextField(),
        "qualname": TextField(),
        "parameters": TextField(),
        "input": TextField(),
        "worker": TextField(),
        "updated_at": BigIntegerField(),
    }


def _work_tables(table: Any, *, is_sqlite: bool) -> dict[str, Any]:
    runs = table(
        "runs",
        {
            "key": BigIntegerField(primary_key=True),
            "id": TextField(unique=True),
            "package": TextField(),
            "name": TextField(null=True),
            "status": TextField(),
            "metadata": TextField(),
            "input_sha256": BlobField(),
            "output": TextField(null=True),
            "generation": IntegerField(),
            "created_at": BigIntegerField(),
            "started_at": BigIntegerField(null=True),
            "ended_at": BigIntegerField(null=True),
            "updated_at": BigIntegerField(),
            "cancel_requested_at": BigIntegerField(null=True),
            "nodes": IntegerField(),
            "steps": IntegerField(),
            "open_steps": IntegerField(),
            "failed_steps": IntegerField(),
            "canceled_by_run": IntegerField(),
            "edges": IntegerField(),
            "events": IntegerField(),
        },
        checks=_RUN_CHECKS,
    )
    runs.add_index(
        runs.index(
            runs.key, name="runs_open", where=runs.status.in_([s.value for s in RunStatus if not s.is_ended])
        )
    )
    steps = _steps_table(table, runs, is_sqlite=is_sqlite)
    return {
        "runs": runs,
        # Every cycle updates the run's row, so its input, which may be large, lies beside it.
        "run_inputs": table("run_inputs", {"run": _run_key(runs, primary_key=True), "body": BlobField()}),
        "steps": steps,
        "specs": table(
            "specs",
            {
                "step": peewee.ForeignKeyField(steps, primary_key=True, column_name="step", on_delete="CASCADE"),
                "retry": TextField(null=True),
                "timeout": BigIntegerField(null=True),
                "bindings": TextField(null=True),
                "metadata": TextField(null=True),
                "sha256": BlobField(),
                "input": BlobField(),
            },
        ),
        "deps": table(
            "deps",
            {
                "target": BigIntegerField(),
                "waiter": BigIntegerField(index=True),
                "role": IntegerField(),
            },
            primary_key=peewee.CompositeKey("target", "waiter"),
            clustered=True,
        ),
        "gates": table(
            "gates",
            {
                "key": BigIntegerField(primary_key=True),
                "name": TextField(),
                "left": IntegerField(column_name="left_open", constraints=[Check("left_open >= 0")]),
                "failed": IntegerField(constraints=[Check("failed >= 0")]),
            },
        ),
    }


def _run_key(runs: Any, **options: Any) -> Any:
    return peewee.ForeignKeyField(runs, column_name="run", on_delete="CASCADE", **options)


def _steps_table(table: Any, runs: Any, *, is_sqlite: bool) -> Any:
    steps = table(
        "steps",
        {
            "key": BigIntegerField(primary_key=True),
            "run": _run_key(runs, index=False),
            "id": TextField(),
            "lane": IntegerField(),
            "status": TextField(),
            "reason": TextField(null=True),
            "allow_failure": IntegerField(),
            "generation": IntegerField(),
            "attempt": IntegerField(),
            "max_attempts": IntegerField(),
            "epoch": BigIntegerField(),
            "token": TextField(null=True),
            "worker": TextField(null=True),
            "expires_at": BigIntegerField(null=True),
            "scheduled_at": BigIntegerField(),
            "started_at": BigIntegerField(null=True),
            "ended_at": BigIntegerField(null=True),
            "priority": IntegerField(),
            "ready_at": BigIntegerField(null=True),
            "delayed_until": BigIntegerField(null=True),
            "delay": BigIntegerField(),
            "deps_left": IntegerField(),
            "parent": BigIntegerField(null=True),
            "depth": IntegerField(),
            "dedup_key": TextField(null=True),
            "created_at": BigIntegerField(),
        },
        checks=_STEP_CHECKS,
        indexes=((("run", "id"), True),),
    )
    ready = (steps.status == "ready") & steps.delayed_until.is_null()
    later = (steps.status == "ready") & steps.delayed_until.is_null(False)
    named = steps.dedup_key.is_null(False)
    # SQLite keeps the key of a row in each index, after all columns; elsewhere it has to be said.
    order = (steps.lane, steps.priority, steps.ready_at, *(() if is_sqlite else (steps.key,)))
    # Unserved and later work is not in the index that leasing seeks, so it costs leasing nothing.
    steps.add_index(steps.index(*order, name="steps_ready", where=ready))
    steps.add_index(steps.index(steps.delayed_until, name="steps_delayed", where=later))
    steps.add_index(
        steps.index(steps.expires_at, steps.lane, name="steps_running", where=steps.status == "running")
    )
    steps.add_index(steps.index(steps.run, steps.dedup_key, name="steps_dedup", unique=True, where=named))
    return steps
