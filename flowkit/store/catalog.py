"""The catalog: which kinds and packages workers have registered, so that other processes and operators can see them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.store.database import Database, Row, Session
from flowkit.store.statements import insert_into, param, statement
from flowkit.store.tables import Tables

Parameter = Mapping[str, Any]
"""One parameter of a function: its ``name``, whether it is ``required``, and its ``kind``: ``input`` or ``result``."""


def _listed(parameters: Iterable[Parameter]) -> list[Parameter]:
    return list(parameters)


@attrs.frozen
class CatalogKind:
    """What is known of an executor without importing it.

    Attributes:
        input_schema, result_schema: JSON Schema, or None where nothing is known of the type.
        worker_id, updated_at: who recorded it, and when; they do not count when two are compared.
    """

    kind: str
    module: str
    qualname: str
    parameters: Sequence[Parameter] = attrs.field(default=(), converter=_listed)
    input_schema: Any = None
    result_schema: Any = None
    worker_id: str = attrs.field(default="", eq=False)
    updated_at: Micros = attrs.field(default=0, eq=False)


@attrs.frozen
class CatalogPackage:
    """What is known of an entrypoint without importing it; see ``CatalogKind``."""

    name: str
    module: str
    qualname: str
    display_name: str | None = None
    parameters: Sequence[Parameter] = attrs.field(default=(), converter=_listed)
    input_schema: Any = None
    worker_id: str = attrs.field(default="", eq=False)
    updated_at: Micros = attrs.field(default=0, eq=False)


@attrs.frozen
class Recorded:
    """All that a store's catalog knows, each by name."""

    kinds: tuple[CatalogKind, ...]
    packages: tuple[CatalogPackage, ...]


class Catalog:
    """Reads and writes of what is registered; who registered it last is what stands."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self.db = db
        self._t = tables

    def _select_kinds(self) -> Any:
        k = self._t.kinds
        return k.select(k.kind, k.module, k.qualname, k.parameters, k.input, k.result, k.worker, k.updated_at)

    def _select_packages(self) -> Any:
        p = self._t.packages
        columns = (p.name, p.module, p.qualname, p.display_name, p.parameters, p.input, p.worker, p.updated_at)
        return p.select(*columns)

    @statement
    def _kind(self) -> Any:
        return self._select_kinds().where(self._t.kinds.kind == param("kind"))

    @statement
    def _kinds(self) -> Any:
        return self._select_kinds().order_by(self._t.kinds.kind)

    @statement
    def _package(self) -> Any:
        return self._select_packages().where(self._t.packages.name == param("name"))

    @statement
    def _packages(self) -> Any:
        return self._select_packages().order_by(self._t.packages.name)

    @statement
    def _put_kind(self) -> Any:
        k = self._t.kinds
        names = ("kind", "module", "qualname", "parameters", "input", "result", "worker", "updated_at")
        kept = [getattr(k, name) for name in names[1:]]
        return insert_into(k, names).on_conflict(conflict_target=[k.kind], preserve=kept)

    @statement
    def _put_package(self) -> Any:
        p = self._t.packages
        names = ("name", "module", "qualname", "display_name", "parameters", "input", "worker", "updated_at")
        kept = [getattr(p, name) for name in names[1:]]
        return insert_into(p, names).on_conflict(conflict_target=[p.name], preserve=kept)

    def kind(self, tx: Session, kind: str) -> CatalogKind | None:
        """Return what was recorded of a kind, if any worker did."""
        row = tx.row(self._kind, kind=kind)
        return _kind_from(row) if row else None

    def kinds(self, tx: Session) -> list[CatalogKind]:
        """Return every kind that was recorded, by name."""
        return [_kind_from(row) for row in tx.rows(self._kinds)]

    def package(self, tx: Session, name: str) -> CatalogPackage | None:
        """Return what was recorded of a package, if any worker did."""
        row = tx.row(self._package, name=name)
        return _package_from(row) if row else None

    def packages(self, tx: Session) -> list[CatalogPackage]:
        """Return every package that was recorded, by name."""
        return [_package_from(row) for row in tx.rows(self._packages)]

    def differs(self, tx: Session, kinds: Iterable[CatalogKind], packages: Iterable[CatalogPackage]) -> bool:
        """Whether ``register`` would write anything."""
        return bool(self._new_kinds(tx, kinds) or self._new_packages(tx, packages))

    def register(
        self,
        tx: Session,
        kinds: Iterable[CatalogKind],
        packages: Iterable[CatalogPackage],
        *,
        worker_id: str,
        now: Micros,
    ) -> bool:
        """Record what a worker registered; what stands already is not written again. Returns whether any was new."""
        new_kinds, new_packages = self._new_kinds(tx, kinds), self._new_packages(tx, packages)
        tx.many(self._put_kind, [(*_kind_row(kind), worker_id, now) for kind in new_kinds])
        tx.many(self._put_package, [(*_package_row(package), worker_id, now) for package in new_packages])
        return bool(new_kinds or new_packages)

    def _new_kinds(self, tx: Session, kinds: Iterable[CatalogKind]) -> list[CatalogKind]:
        stored = {known.kind: _kind_row(known) for known in self.kinds(tx)}
        new = [kind for kind in kinds if stored.get(kind.kind) != _kind_row(kind)]
        # In the order of names, so that two processes that open at once do not wait for each other in a circle.
        return sorted(new, key=lambda kind: kind.kind)

    def _new_packages(self, tx: Session, packages: Iterable[CatalogPackage]) -> list[CatalogPackage]:
        stored = {known.name: _package_row(known) for known in self.packages(tx)}
        new = [package for package in packages if stored.get(package.name) != _package_row(package)]
        return sorted(new, key=lambda package: package.name)


def _kind_row(kind: CatalogKind) -> Row:
    texts = (_text(kind.parameters), _text(kind.input_schema), _text(kind.result_schema))
    return (kind.kind, kind.module, kind.qualname, *texts)


def _package_row(package: CatalogPackage) -> Row:
    names = (package.name, package.module, package.qualname, package.display_name)
    return (*names, _text(package.parameters), _text(package.input_schema))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _kind_from(row: Row) -> CatalogKind:
    kind, module, qualname, parameters, input_schema, result, worker, at = row
    schemas = (json.loads(input_schema), json.loads(result))
    return CatalogKind(kind, module, qualname, json.loads(parameters), *schemas, worker, at)


def _package_from(row: Row) -> CatalogPackage:
    name, module, qualname, display_name, parameters, input_schema, worker, at = row
    return CatalogPackage(
        name, module, qualname, display_name, json.loads(parameters), json.loads(input_schema), worker, at
    )
