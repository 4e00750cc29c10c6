"""Before new code is put to work it is tried on what is stored: every step that it could not run is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from flowkit import RunBuilder, Runtime, StepContext, executor, package
from flowkit.clock import SystemClock
from flowkit.model.codec import Codec
from flowkit.runtime.check import CodeCheck, check_code
from flowkit.runtime.registry import Registry
from flowkit.store.engine import Engine
from flowkit.store.stores import SQLiteStore


@attrs.frozen
class PageV1:
    number: int


@attrs.frozen
class PageV2:
    number: int
    url: str


@executor("read")
def read(step: StepContext, input: PageV1) -> str:
    return f"page {input.number}"


@executor("bind")
def bind(step: StepContext, *, pages: list[str]) -> int:
    return len(pages)


@package("book")
def book(run: RunBuilder, input: int) -> None:
    pages = run.map("page", read, [PageV1(number) for number in range(input)])
    run.step("bind", bind, pages=pages)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with Runtime(f"sqlite:///{tmp_path / 'flowkit.db'}", entry_points=False) as opened:
        for function in (read, bind):
            opened.register_executor(function)
        opened.register_package(book)
        yield opened


@pytest.fixture
def check(runtime: Runtime, tmp_path: Path) -> Iterator[Callable[..., CodeCheck]]:
    """Check the store against other code, as another process would that has only that code."""
    engine: Engine = SQLiteStore(tmp_path / "flowkit.db").open(SystemClock())

    def against(*functions: Any) -> CodeCheck:
        registry = Registry(Codec())
        for function in functions:
            registry.add(function)
        return check_code(engine, registry)

    yield against
    engine.db.close()


def test_the_code_that_started_the_runs_serves_them(runtime: Runtime, check: Callable[..., CodeCheck]) -> None:
    runtime.start_run("book", 40)

    found = check(read, bind)

    assert (found.is_sound, found.runs, found.steps) == (True, 1, 41)


def test_a_kind_that_is_gone_is_named_with_the_module_it_was_in(
    runtime: Runtime, check: Callable[..., CodeCheck]
) -> None:
    runtime.start_run("book", 1, run_id="b1")

    (misfit,) = check(read).misfits

    assert (misfit.problem, misfit.kind, misfit.count) == ("unknown_kind", "bind", 1)
    assert [(one.run_id, one.step_id) for one in misfit.examples] == [("b1", "bind")]
    assert repr(__name__) in misfit.hint


def test_inputs_that_no_longer_fit_are_counted_and_a_few_are_shown(
    runtime: Runtime, check: Callable[..., CodeCheck]
) -> None:
    @executor("read")
    def read_v2(step: StepContext, input: PageV2) -> str:
        return input.url

    runtime.start_runs("book", [100, 30])

    (misfit,) = check(read_v2, bind).misfits

    assert (misfit.problem, misfit.kind, misfit.count, len(misfit.examples)) == ("input", "read", 130, 5)
    assert "url" in misfit.examples[0].message


def test_a_step_that_has_ended_needs_no_code_any_more(runtime: Runtime, check: Callable[..., CodeCheck]) -> None:
    runtime.run("book", 2)
    runtime.start_run("book", 1)
    runtime.cancel_run(runtime.runs()[0].id)

    assert check() == CodeCheck(0, 0, ())


def test_a_result_parameter_that_was_renamed_is_found(runtime: Runtime, check: Callable[..., CodeCheck]) -> None:
    @executor("bind")
    def bind_v2(step: StepContext, *, leaves: list[str]) -> int:
        return len(leaves)

    runtime.start_run("book", 1)

    (misfit,) = check(read, bind_v2).misfits

    assert (misfit.problem, misfit.count) == ("binding", 2)
    told = " ".join(example.message for example in misfit.examples)
    assert "no result parameter 'pages'" in told
    assert "requires a result 'leaves'" in told


def test_a_new_result_parameter_with_a_default_is_fine(runtime: Runtime, check: Callable[..., CodeCheck]) -> None:
    @executor("bind")
    def bind_v2(step: StepContext, *, pages: list[str], cover: str = "blue") -> int:
        return len(pages)

    runtime.start_run("book", 1)

    assert check(read, bind_v2).is_sound


def test_a_committed_result_that_no_longer_fits_where_it_is_bound_is_found(
    runtime: Runtime, check: Callable[..., CodeCheck]
) -> None:
    @executor("bind")
    def bind_v2(step: StepContext, *, pages: list[int]) -> int:
        return sum(pages)

    runtime.start_run("book", 20)
    assert check(read, bind_v2).is_sound, "nothing is committed that could misfit"
    runtime.drain(max_cycles=1)

    (misfit,) = check(read, bind_v2).misfits

    assert (misfit.problem, misfit.kind, misfit.count) == ("result", "bind", 1)
    assert "expected int" in misfit.examples[0].message


def test_a_damaged_input_is_told_apart_from_one_that_does_not_fit(
    runtime: Runtime, check: Callable[..., CodeCheck]
) -> None:
    runtime.start_run("book", 1)
    with runtime._parts.engine.write() as tx:
        tx.script("UPDATE specs SET input = x'00' WHERE step = (SELECT MIN(step) FROM specs)")

    (misfit,) = check(read, bind).misfits

    assert (misfit.problem, misfit.kind, misfit.count) == ("damaged", "read", 1)


def test_checking_leaves_the_catalog_as_the_workers_wrote_it(
    runtime: Runtime, check: Callable[..., CodeCheck]
) -> None:
    @executor("new")
    def new(step: StepContext) -> None: ...

    runtime.start_run("book", 1)
    check(read, bind, new)

    with runtime._parts.engine.read() as tx:
        assert {kind.kind for kind in runtime._parts.engine.catalog.kinds(tx)} == {"read", "bind"}
