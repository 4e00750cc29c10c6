"""Writes what a Runtime has registered into the store's catalog, for operators and other processes."""

from __future__ import annotations

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
