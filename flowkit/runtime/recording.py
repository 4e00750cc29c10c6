"""The store's catalog: what a Runtime has registered, written for operators and other processes, and read back."""

from __future__ import annotations

from flowkit.dsl.kinds import RemoteKind
from flowkit.model.codec import Codec
from flowkit.model.definitions import ExecutorDef, PackageDef
from flowkit.runtime.registry import Registry
from flowkit.store.catalog import CatalogKind, CatalogPackage, Parameter
from flowkit.store.engine import Engine


def record_catalog(engine: Engine, registry: Registry, codec: Codec, worker_id: str) -> None:
    """Upsert every registered executor and package; nothing is written where all of it stands there already."""
    kinds = [_kind(definition, codec) for definition in registry.executors.values()]
    packages = [_package(definition, codec) for definition in registry.packages.values()]
    with engine.read() as tx:
        news = engine.catalog.differs(tx, kinds, packages)
    if news:
        with engine.write() as tx:
            engine.catalog.register(tx, kinds, packages, worker_id=worker_id, now=tx.now())


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
