"""Starting runs: the input is structured, the entrypoint describes the steps, and all of it is stored at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from flowkit.model.gate import INPUT_LIMIT, METADATA_LIMIT, canonical, dumps, loads
from flowkit.model.names import name_problem
from flowkit.model.plan import Output, Plan
from flowkit.model.struct import struct
from flowkit.runtime.registry import Registry
from flowkit.store.database import Session
from flowkit.store.engine import Engine
from flowkit.store.runs import NewRun
from flowkit.store.tally import Tally

DEFAULT: Any = object()
"""Stands for an input that the entrypoint does not take, or has a default for."""


@struct
class Wish:
    """What a caller asks to start."""

    definition: PackageDef
    input: Any
    body: bytes
    digest: bytes
    run_id: str | None
    name: str | None
    metadata: Mapping[str, Any]
    origin: Mapping[str, str] = attrs.field(factory=dict)


Described = tuple[NewRun, Plan]
"""A run as its entrypoint described it, not stored yet."""


@struct
class Started:
    """A run that was started, or was there already.

    Attributes:
        output: the id of the step whose result is the output of a run that was started, if that is one step's.
    """

    id: str
    package: str
    name: str | None
    created: bool
    output: str | None = None


class Starter:
    """Starts runs of registered packages."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        codec: Codec,
        ids: IdSource,
        listening: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._codec = codec
        self._ids = ids
        self._listening = listening

    def start(
        self, wishes: Sequence[Wish], lease: Callable[[Session, Tally], None] | None = None
    ) -> tuple[list[Started], list[Event]]:
        """Start all that is wished for, in one transaction.

        Args:
            lease: called within it, to lease steps of these runs or others; few steps are stored after that.

        Raises:
            GraphError, LimitExceeded: an entrypoint described no graph that could run.
            RunConflict: a run of that id is there with other content; nothing was changed.
        """
        prepared = [self._prepare(wish) for wish in wishes]
        # Runs without an id of the caller's are new in any case.
        are_new = bool(wishes) and all(wish.run_id is None for wish in wishes)
        keys = self._engine.starts.asking(len(wishes)) if are_new else None
        with self._engine.write([keys] if keys is not None else []) as tx:
            tally = Tally(tx.now(), listening=self._listening())
            self._engine.runs.reserve(tx, {wish.run_id for wish in wishes if wish.run_id is not None})
            started = [self._there(tx, wish) for wish in wishes]
            missing = [place for place, found in enumerate(started) if found is None]
            # One that was there when it was looked for may have been pruned since.
            new = [prepared[place] or self._describe(wishes[place]) for place in missing]
            self._engine.starts.add(tx, new, tally, keys, leases=lease is not None)
            if new and lease is not None:
                lease(tx, tally)
            for place, (run, plan) in zip(missing, new):
                output = plan.output.step_id if plan.output is not None else None
                started[place] = Started(run.id, run.package, run.name, True, output)
            events = self._engine.history.close(tx, tally)
        return [found for found in started if found is not None], events

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
            value, body = self._accept(definition, input)
        if metadata is not None:
            dumps(_object(metadata, "metadata"), "metadata", METADATA_LIMIT)
        # Stored in the one form that equal values share: its checksum then tells equal inputs as well as damage.
        body = canonical(body)
        return Wish(definition, value, body, hashlib.sha256(body).digest(), run_id, name, dict(metadata or {}))

    def _accept(self, definition: PackageDef, input: Any) -> tuple[Any, bytes]:
        try:
            return self._codec.accept(input, definition.signature().input_type, "input", INPUT_LIMIT)
        except InvalidInput as error:
            if input is not None:
                raise
            raise InvalidInput(f"package {definition.name!r} needs an input, and none was given: {error}") from None

    def wishes(
        self, package: Any, inputs: Iterable[Any], name: str | None, metadata: Mapping[str, Any] | None
    ) -> list[Wish]:
        """Check what a caller asks for many times; raises what ``wish`` does, and says for which input."""
        wishes = []
        for place, one in enumerate(inputs):
            try:
                wishes.append(self.wish(package, one, None, name, metadata))
            except InvalidInput as error:
                raise InvalidInput(f"inputs[{place}]: {error}") from error
        return wishes

    def describe(self, package: Any, input: Any) -> Plan:
        """Return the first steps of a run of this package, without storing anything.

        Raises:
            PackageNotRegistered, InvalidInput, GraphError, LimitExceeded: as a start would.
        """
        return self._describe(self.wish(package, input, None, None, None))[1]

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
        if name_problem(name) is not None:
            return ""  # a text that no database can look for
        with self._engine.read() as tx:
            if self._engine.runs.find(tx, name) is not None:
                return "this is the id of a run: read it with rt.workflow()"
            recorded = self._engine.catalog.package(tx, name)
        if recorded is not None:
            return f"another worker registered it from module {recorded.module!r}: add that to Runtime(modules=[...])"
        return ""

    def _prepare(self, wish: Wish) -> Described | None:
        if wish.run_id is not None:
            with self._engine.read() as tx:
                if self._there(tx, wish) is not None:
                    return None
        return self._describe(wish)

    def _describe(self, wish: Wish) -> Described:
        definition = wish.definition
        run_id = wish.run_id or f"{definition.name[:150]}-{self._ids.uuid7(self._engine.db.clock.now())}"
        builder = RunBuilder(
            run_id=run_id,
            package=definition.name,
            registry=self._registry,
            encode=self._codec.encode,
            default_queue=definition.queue,
        )
        arguments: list[Any] = [builder] if definition.signature().takes_context else []
        if wish.input is not DEFAULT:
            arguments.append(wish.input)
        plan = builder.finish(call_entrypoint(definition, arguments))
        described = {**_object(builder.metadata, "run.metadata"), **wish.metadata}
        metadata = dumps(described, "run.metadata", METADATA_LIMIT) if described else b"{}"
        name = wish.name if wish.name is not None else builder.name
        _check_names(None, name)
        output = output_text(plan.output)
        told = (metadata.decode(), wish.body, wish.digest, output, wish.origin)
        return NewRun(run_id, definition.name, name, *told), plan

    def _there(self, tx: Session, wish: Wish) -> Started | None:
        """Return the run that a wish names, if it is there.

        Raises:
            RunConflict: it is there with other content.
        """
        found = self._engine.runs.find(tx, wish.run_id) if wish.run_id is not None else None
        if found is None:
            return None
        if found.package != wish.definition.name:
            raise RunConflict(found.id, f"another package ({found.package!r})")
        if found.input_sha256 != wish.digest and not self._is_meant(tx, found.id, wish):
            raise RunConflict(found.id, "another input")
        return Started(found.id, found.package, found.name, False)

    def _is_meant(self, tx: Session, run_id: str, wish: Wish) -> bool:
        """Whether a run's input, as the code reads it today, is what is wished for: a field may have come since."""
        run = self._engine.views.run(tx, run_id)
        try:
            stored = loads(run.input.encode()) if run is not None and run.input is not None else None
            return self.wish(wish.definition.name, stored, None, None, None).digest == wish.digest
        except InvalidInput:
            return False


def output_text(output: Output | None) -> str | None:
    """Write a run's output: the id of a step, or the places of a list of them."""
    if output is None:
        return None
    if output.step_id is not None:
        # Of a text alone ``json`` makes no encoder.
        return f'{{"id": {json.dumps(output.step_id)}}}'
    return json.dumps({"spans": output.spans})


def call_entrypoint(definition: PackageDef, arguments: Sequence[Any]) -> Any:
    """Call the program's code; in a frame of its own, by which a traceback shows where that code begins."""
    return definition.entrypoint(*arguments)


def _object(metadata: Any, where: str) -> dict[str, Any]:
    if isinstance(metadata, Mapping):
        return dict(metadata)
    raise InvalidInput(f"{where}: expected a dict, got {type(metadata).__name__}")


def _check_names(run_id: str | None, name: str | None) -> None:
    problem = name_problem(run_id) if run_id is not None else None
    if problem:
        raise ConfigError(f"start_run: run_id: {problem}")
    problem = name_problem(name) if name is not None else None
    if problem:
        raise ConfigError(f"start_run: name: {problem}")
