"""The catalog tells every process what any worker registered."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from flowkit.store.catalog import CatalogKind, CatalogPackage
from flowkit.store.engine import Engine
from tests.store.clock import FakeClock

INPUT = {"name": "input", "required": True, "kind": "input"}
PAGES = {"name": "pages", "required": False, "kind": "result"}
OCR = CatalogKind("book/ocr", "book.steps", "ocr", [INPUT, PAGES], {"type": "object"}, {"type": "string"})
BOOK = CatalogPackage("book", "book.flow", "book", "Book OCR", [INPUT], {"type": "object"})


def register(engine: Engine, *kinds: CatalogKind, packages: Any = (), worker: str = "worker") -> bool:
    with engine.write() as tx:
        return engine.catalog.register(tx, kinds, packages, worker_id=worker, now=tx.now())


def test_what_a_worker_registered_is_read_back_whole(engine: Engine, clock: FakeClock) -> None:
    register(engine, OCR, packages=[BOOK])
    with engine.read() as tx:
        kind, package = engine.catalog.kind(tx, "book/ocr"), engine.catalog.package(tx, "book")
    assert (kind, package) == (OCR, BOOK)
    assert kind is not None
    assert (kind.worker_id, kind.updated_at) == ("worker", clock.now())


def test_a_kind_or_package_that_nobody_registered_is_none(engine: Engine) -> None:
    with engine.read() as tx:
        assert engine.catalog.kind(tx, "book/ocr") is None
        assert engine.catalog.package(tx, "book") is None


def test_kinds_and_packages_are_listed_by_name(engine: Engine) -> None:
    names = ["b", "a", "c"]
    register(engine, *(attrs.evolve(OCR, kind=n) for n in names), packages=[attrs.evolve(BOOK, name=n) for n in names])
    with engine.read() as tx:
        assert [kind.kind for kind in engine.catalog.kinds(tx)] == ["a", "b", "c"]
        assert [package.name for package in engine.catalog.packages(tx)] == ["a", "b", "c"]


def test_registering_the_same_again_differs_in_nothing_and_writes_nothing(engine: Engine) -> None:
    register(engine, OCR, packages=[BOOK], worker="first")
    with engine.read() as tx:
        assert not engine.catalog.differs(tx, [OCR], [BOOK])
    assert not register(engine, OCR, packages=[BOOK], worker="second")
    with engine.read() as tx:
        assert engine.catalog.kinds(tx)[0].worker_id == "first"


@pytest.mark.parametrize(
    "change",
    [{"module": "moved"}, {"qualname": "renamed"}, {"parameters": []}, {"input_schema": None}, {"result_schema": {}}],
)
def test_a_kind_that_changed_in_any_way_is_recorded_anew(engine: Engine, change: dict[str, Any]) -> None:
    register(engine, OCR, worker="first")
    changed = attrs.evolve(OCR, **change)
    with engine.read() as tx:
        assert engine.catalog.differs(tx, [changed], [])
    assert register(engine, changed, worker="second")
    with engine.read() as tx:
        assert engine.catalog.kinds(tx) == [changed]
        assert engine.catalog.kinds(tx)[0].worker_id == "second"


def test_kinds_of_other_workers_stay_when_one_registers_its_own(engine: Engine) -> None:
    register(engine, OCR)
    register(engine, attrs.evolve(OCR, kind="book/index"))
    with engine.read() as tx:
        assert [kind.kind for kind in engine.catalog.kinds(tx)] == ["book/index", "book/ocr"]
