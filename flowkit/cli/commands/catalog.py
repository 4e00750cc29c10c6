"""The commands ``packages`` and ``executors``: what any worker has registered with the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.options import with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import Place
from flowkit.cli.plain import Column

if TYPE_CHECKING:
    from flowkit.store.catalog import CatalogKind, CatalogPackage


@click.command()
@with_store
@with_output
def packages(place: Place, out: Output) -> None:
    """List what can be started.

    From the store's catalog: what any process has registered with the store,
    whether a worker serves it now or not. With --json, the schemas too.
    """
    with place.reading() as runtime:
        found = runtime.catalog().packages
    if out.is_json:
        out.json({"packages": [_package_shape(one) for one in found]})
    elif not found:
        out.note("no package is registered yet; a worker, or flowkit run, registers those of its modules")
    else:
        columns = [Column("PACKAGE"), Column("INPUT"), Column("WHERE"), Column("NAME", shrinks=True)]
        out.table(columns, [[one.name, _taken(one), _place(one), one.display_name or ""] for one in found])


@click.command()
@with_store
@with_output
def executors(place: Place, out: Output) -> None:
    """List the kinds of steps that can be run.

    From the store's catalog, with whether a live worker serves each of them
    now. With --json, the schemas too.
    """
    from flowkit.runtime.upkeep import served_kinds

    with place.reading() as runtime:
        found = runtime.catalog().kinds
        served = served_kinds(runtime)
    if out.is_json:
        out.json({"executors": [{**_kind_shape(one), "served": one.kind in served} for one in found]})
    elif not found:
        out.note("no executor is registered yet; a worker, or flowkit run, registers those of its modules")
    else:
        columns = [Column("KIND"), Column("INPUT"), Column("RESULTS", shrinks=True), Column("SERVED"), Column("WHERE")]
        shown = {True: "yes", False: "no"}
        out.table(columns, [[k.kind, _taken(k), _bound(k), shown[k.kind in served], _place(k)] for k in found])


def _taken(known: CatalogKind | CatalogPackage) -> str:
    names = [p["name"] for p in known.parameters if p["kind"] == "input"]
    return f"{names[0]}: {_type(known.input_schema)}" if names else "-"


def _type(schema: Any) -> str:
    told = schema if isinstance(schema, dict) else {}
    named = str(told.get("$ref", "")).rpartition("/")[2]
    return named or str(told.get("title") or told.get("type") or "any")


def _bound(known: CatalogKind) -> str:
    return ", ".join(p["name"] for p in known.parameters if p["kind"] == "result")


def _place(known: CatalogKind | CatalogPackage) -> str:
    return f"{known.module}:{known.qualname}"


def _package_shape(known: CatalogPackage) -> dict[str, Any]:
    return {
        "name": known.name,
        "display_name": known.display_name,
        "module": known.module,
        "function": known.qualname,
        "input": known.input_schema,
    }


def _kind_shape(known: CatalogKind) -> dict[str, Any]:
    return {
        "kind": known.kind,
        "module": known.module,
        "function": known.qualname,
        "parameters": list(known.parameters),
        "input": known.input_schema,
        "result": known.result_schema,
    }
