"""The decorators mark a function, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flowkit.clock import SECOND
from flowkit.dsl.decorators import definitions_of, executor, package
from flowkit.errors import ConfigError
from flowkit.model.definitions import ExecutorDef, PackageDef
from flowkit.model.retry import Retry


def test_the_function_is_given_back_unchanged():
    def double(value: int) -> int:
        return 2 * value

    assert executor("math/double")(double) is double
    assert double(4) == 8


def test_the_definition_carries_what_was_said():
    @executor(
        "ocr", queue="gpu", retry=Retry(max_attempts=1), timeout=timedelta(minutes=1), priority=-5, pool="process"
    )
    async def ocr(step): ...

    (definition,) = definitions_of(ocr)
    assert isinstance(definition, ExecutorDef)
    assert (definition.kind, definition.function, definition.is_async) == ("ocr", ocr, True)
    assert (definition.queue, definition.priority, definition.pool) == ("gpu", -5, "process")
    assert definition.retry == Retry(max_attempts=1)
    assert definition.timeout == 60 * SECOND
    assert "test_decorators.py:" in definition.place


def test_a_timeout_is_given_in_seconds():
    @executor("a", timeout=0.5)
    def quick(step): ...

    assert definitions_of(quick)[0].timeout == SECOND // 2


def test_a_function_may_be_marked_more_than_once():
    @executor("new-name")
    @executor("old-name")
    def renamed(step): ...

    assert [one.kind for one in definitions_of(renamed)] == ["old-name", "new-name"]


def test_a_package_is_marked_with_its_names_and_queue():
    @package("book", display_name="Book OCR", queue="slow")
    def book(run): ...

    (definition,) = definitions_of(book)
    assert isinstance(definition, PackageDef)
    assert (definition.name, definition.display_name, definition.queue) == ("book", "Book OCR", "slow")
    assert definition.entrypoint is book


def test_what_no_decorator_marked_has_no_definitions():
    assert definitions_of(len) == ()
    assert definitions_of(5) == ()


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_kind_is_refused(blank: str):
    with pytest.raises(ConfigError, match="workflow step kind is required"):
        executor(blank)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("queue", "two words"),
        ("retry", 3),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("timeout", "soon"),
        ("priority", 1001),
        ("priority", True),
        ("pool", ""),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(option: str, value: object):
    with pytest.raises(ConfigError, match=option):
        executor("a", **{option: value})


def test_kinds_have_no_spaces():
    with pytest.raises(ConfigError, match="kind: expected no spaces"):
        executor("two words")


def test_a_decorator_without_a_name_is_refused_and_says_how_it_is_written():
    with pytest.raises(ConfigError, match=r'kind: expected str, got a function; write @executor\("kind"\)'):

        @executor
        def forgot(step): ...

    with pytest.raises(ConfigError, match=r'name: expected str, got a function; write @package\("name"\)'):

        @package
        def forgot_too(run): ...


def test_a_package_needs_a_name():
    with pytest.raises(ConfigError, match="name"):
        package("")
