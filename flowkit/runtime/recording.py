"""What a Runtime has registered and how it limits queues, stored for operators and other processes, and read back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from flowkit.dsl.kinds import RemoteKind
from flowkit.errors import FlowkitError
from flowkit.model.codec import Codec
from flowkit.model.definitions import ExecutorDef, PackageDef
from flowkit.model.limits import QueueConfig
from flowkit.runtime.registry import Registry
from flowkit.runtime.settings import Settings
from flowkit.runtime.telemetry import Telemetry
from flowkit.store.catalog import CatalogKind, CatalogPackage, Parameter
from flowkit.store.engine import Engine


class Recording:
    """Writes what a Runtime has registered, and how it limits queues; once more, where that may have been rolled back.

    Attributes:
        changed_limits: name, limits before and now of each queue that others had limited otherwise.
    """

    def __init__(
        self, engine: Engine, registry: Registry, codec: Codec, settings: Callable[[], Settings], telemetry: Telemetry
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._codec = codec
        self._settings = settings
        self._telemetry = telemetry
        self._in_doubt: dict[Callable[[], None], None] = {}
        self.changed_limits: list[tuple[str, QueueConfig, QueueConfig]] = []

    def record(self) -> None:
        """Write every registered executor and package; nothing where all of it stands there already."""
        self._write(self._record_catalog)

    def limit(self) -> None:
        """Write how queues are limited; nothing where that stands there already."""
        if self._settings().queues:
            self._write(self._record_limits)

    def settle(self) -> None:
        """Write again what the program may have rolled back; inside a transaction of the program, after it."""
        if self._in_doubt:
            self._engine.db.after_commit(self._write_again)

    def _write(self, write: Callable[[], None]) -> None:
        write()
        if self._engine.db.joins_program():
            # What the program rolls back would be missing for as long as this Runtime lives.
            self._in_doubt[write] = None
            self.settle()

    def _write_again(self) -> None:
        # The program's commit is made, whatever comes of this; the next start tries again.
        with suppress(FlowkitError):
            for write in list(self._in_doubt):
                write()
                self._in_doubt.pop(write, None)

    def _record_catalog(self) -> None:
        engine, registry, codec = self._engine, self._registry, self._codec
        kinds = [_kind(definition, codec) for definition in registry.executors.values()]
        packages = [_package(definition, codec) for definition in registry.packages.values()]
        with engine.read() as tx:
            news = engine.catalog.differs(tx, kinds, packages)
        if news:
            with engine.write() as tx:
                engine.catalog.register(tx, kinds, packages, worker_id=self._settings().worker_id, now=tx.now())

    def _record_limits(self) -> None:
        queues, worker_id, stored = self._settings().queues, self._settings().worker_id, self._engine.queues
        with self._engine.read() as tx:
            same = stored.match(tx, queues)
        if same:
            return
        with self._engine.write() as tx:
            for name, config in sorted(queues.items()):
                before = stored.configure(tx, name, config, by=worker_id, now=tx.now())
                if before is not None:
                    self.changed_limits.append((name, before, config))
                    told = {"queue": name, "before": str(before), "now": str(config)}
                    self._telemetry.log.warning("queue_config_changed", **told)


class Recorded:
    """What workers of the store recorded about the kinds that they serve."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, kind: str) -> RemoteKind | None:
        """Return what was recorded of a kind, if any worker did."""
        with self._engine.read() as tx:
            found = self._engine.catalog.kind(tx, kind)
        if found is None:
            return None
        results = {p["name"]: bool(p["required"]) for p in found.parameters if p["kind"] == "result"}
        inputs = [p for p in found.parameters if p["kind"] == "input"]
        return RemoteKind(kind, results, bool(inputs), any(p["required"] for p in inputs))

    def names(self) -> list[str]:
        """Return every kind that was recorded."""
        with self._engine.read() as tx:
            return [known.kind for known in self._engine.catalog.kinds(tx)]


def _kind(definition: ExecutorDef, codec: Codec) -> CatalogKind:
    signature = definition.signature()
    parameters: list[Parameter] = []
    if signature.takes_input:
        parameters.append({"name": signature.input_name, "required": signature.input_required, "kind": "input"})
    for name, parameter in signature.results.items():
        parameters.append({"name": name, "required": parameter.required, "kind": "result"})
    schemas = (codec.schema(signature.input_type), codec.schema(signature.returns))
    return CatalogKind(definition.kind, definition.module, definition.qualname, parameters, *schemas)


def _package(definition: PackageDef, codec: Codec) -> CatalogPackage:
    signature = definition.signature()
    parameters: list[Parameter] = []
    if signature.takes_input:
        parameters.append({"name": signature.input_name, "required": signature.input_required, "kind": "input"})
    place = (definition.name, definition.module, definition.qualname, definition.display_name)
    return CatalogPackage(*place, parameters, codec.schema(signature.input_type))
