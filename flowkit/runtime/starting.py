"""Starting runs: the input is structured, the entrypoint describes the steps, and all of it is stored at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from flowkit.clock import IdSource
from flowkit.dsl.builder import RunBuilder
from flowkit.dsl.decorators import definitions_of
from flowkit.errors import (
    ConfigError,
    InvalidInput,
    PackageNotRegistered,
    RunConflict,
)
from flowkit.model.codec import Codec
from flowkit.model.definitions import PackageDef
from flowkit.model.events import Event
from flowkit.model.gate import INPUT_LIMIT, METADATA_LIMIT, canonical, dumps
from flowkit.model.names import name_problem
from flowkit.model.plan import Output, Plan
from flowkit.runtime.registry import Registry
from flowkit.store.database import Session
from flowkit.store.engine import Engine
from flowkit.store.runs import NewRun
from flowkit.store.tally import Tally

DEFAULT: Any = object()
"""Stands for an input that the entrypoint does not take, or has a default for."""


@attrs.frozen
class Wish:
    """What a caller asks to start."""

    definition: PackageDef
    input: Any
    body: bytes
    digest: bytes
    run_id: str | None
    name: str | None
    metadata: Mapping[str, Any]


@attrs.frozen
class Started:
    """A run that was started, or was there already."""

    id: str
    package: str
    name: str | None
    created: bool


class Starter:
    """Starts runs of registered packages."""

    def __init__(self, engine: Engine, registry: Registry, codec: Codec, ids: IdSource) -> None:
        self._engine = engine
        self._registry = registry
        self._codec = codec
        self._ids = ids

    def start(self, wishes: Sequence[Wish]) -> tuple[list[Started], list[Event]]:
        """Start all that is wished for, in one transaction.

        Raises:
            GraphError, LimitExceeded: an entrypoint described no graph that could run.
            RunConflict: a run of that id is there with other content; nothing was changed.
        """
        prepared = [self._prepare(wish) for wish in wishes]
        started: list[Started] = []
        events: list[Event] = []
        with self._engine.write() as tx:
            tally = Tally(tx.now())
            for wish, new, plan in prepared:
                started.append(self._store(tx, wish, new, plan, tally))
            events = self._engine.history.close(tx, tally)
        return started, events

    def wish(
        self, package: Any, input: Any, run_id: str | None, name: str | None, metadata: Mapping[str, Any] | None
    ) -> Wish:
        """Check what a caller asks for.

        Raises:
            PackageNotRegistered: nothing of that name is registered here.
            InvalidInput: the input or the metadata does not fit.
            ConfigError: a bad run id or name.
        """
        definition = self._definition(package)
        _check_names(run_id, name)
        signature = definition.signature()
        if not signature.takes_input:
            if input is not None:
                raise InvalidInput(f"package {definition.name!r} takes no input, got {type(input).__name__}")
            body, value = b"null", DEFAULT
        elif input is None and not signature.input_required:
            body, value = b"null", DEFAULT
        else:
            value = self._codec.structure(input, signature.input_type, "input")
            body = self._codec.encode(value, signature.input_type, "input", INPUT_LIMIT)
        if metadata is not None:
            dumps(dict(metadata), "metadata", METADATA_LIMIT)
        digest = hashlib.sha256(canonical(body)).digest()
        return Wish(definition, value, body, digest, run_id, name, dict(metadata or {}))

    def _definition(self, package: Any) -> PackageDef:
        known = self._registry.packages
        if isinstance(package, str):
            found = known.get(package)
            if found is None:
                raise PackageNotRegistered(package, tuple(known), self._hint(package))
            return found
        marks = [mark for mark in definitions_of(package) if isinstance(mark, PackageDef)] if callable(package) else []
        if not marks:
            raise ConfigError(
                f"start_run: package: expected a name or a function marked with @package, got {package!r}"
            )
        found = known.get(marks[0].name)
        if found is None:
            raise PackageNotRegistered(marks[0].name, tuple(known), self._hint(marks[0].name))
        return found

    def _hint(self, name: str) -> str:
        with self._engine.read() as tx:
            if self._engine.runs.find(tx, name) is not None:
                return "this is the id of a run: read it with rt.workflow()"
            recorded = self._engine.catalog.package(tx, name)
        if recorded is not None:
            return f"another worker registered it from module {recorded.module!r}: add that to Runtime(modules=[...])"
        return ""

    def _prepare(self, wish: Wish) -> tuple[Wish, NewRun | None, Plan | None]:
        if wish.run_id is not None and self._is_there(wish.run_id):
            return wish, None, None
        run_id = wish.run_id or f"{wish.definition.name[:150]}-{self._ids.uuid7(self._engine.db.clock.now())}"
        builder = RunBuilder(
            run_id=run_id,
            package=wish.definition.name,
            registry=self._registry,
            encode=self._codec.encode,
            default_queue=wish.definition.queue,
        )
        signature = wish.definition.signature()
        arguments = [builder] if signature.takes_context else []
        if wish.input is not DEFAULT:
            arguments.append(wish.input)
        plan = builder.finish(wish.definition.entrypoint(*arguments))
        metadata = dumps({**builder.metadata, **wish.metadata}, "run.metadata", METADATA_LIMIT)
        name = wish.name if wish.name is not None else builder.name
        _check_names(None, name)
        new = NewRun(
            run_id, wish.definition.name, name, metadata.decode(), wish.body, wish.digest, output_text(plan.output)
        )
        return wish, new, plan

    def _is_there(self, run_id: str) -> bool:
        with self._engine.read() as tx:
            return self._engine.runs.find(tx, run_id) is not None

    def _store(self, tx: Session, wish: Wish, new: NewRun | None, plan: Plan | None, tally: Tally) -> Started:
        run_id = new.id if new is not None else wish.run_id or ""
        found = self._engine.runs.find(tx, run_id)
        if found is not None:
            if found.package != wish.definition.name:
                raise RunConflict(run_id, f"another package ({found.package!r})")
            if found.input_sha256 != wish.digest:
                raise RunConflict(run_id, "another input")
            return Started(run_id, found.package, None, False)
        if new is None or plan is None:
            # It was there when it was looked for and has been pruned since.
            _, new, plan = self._prepare(attrs.evolve(wish, run_id=None))
            assert new is not None
            assert plan is not None
            new = attrs.evolve(new, id=run_id)
        run = self._engine.runs.insert(tx, new, tally.now)
        self._engine.graphs.add(tx, run, plan, tally)
        fields: dict[str, Any] = {"package": new.package, "steps": len(plan.steps)}
        tally.tell("run_created", run.key, fields=fields)
        return Started(run_id, new.package, new.name, True)


def output_text(output: Output | None) -> str | None:
    """Write a run's output: the id of a step, or the places of a list of them."""
    if output is None:
        return None
    if output.step_id is not None:
        return json.dumps({"id": output.step_id})
    return json.dumps({"spans": output.spans})


def _check_names(run_id: str | None, name: str | None) -> None:
    problem = name_problem(run_id) if run_id is not None else None
    if problem:
        raise ConfigError(f"start_run: run_id: {problem}")
    problem = name_problem(name) if name is not None else None
    if problem:
        raise ConfigError(f"start_run: name: {problem}")
