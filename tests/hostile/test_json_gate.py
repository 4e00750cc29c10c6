"""The JSON gate: what passes comes back equal from both databases, and what does not is refused with a path."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from flowkit import InvalidInput, RunBuilder, Runtime, StepContext, executor, package
from flowkit.model import gate
from tests.hostile.values import JSONISH, TEXTS, ten_thousand
from tests.places import Place

pytestmark = pytest.mark.timeout(600)  # ten thousand cases take seconds, on a loaded machine a minute


def is_exact(value: Any) -> bool:
    """Whether a value is exactly JSON, by the words of the manual and without a look at the gate."""
    if type(value) is dict:
        return all(type(key) is str and is_exact(key) and is_exact(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_exact, value))
    if type(value) is str:
        return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value)
    if type(value) is int:
        return -(2**63) <= value < 2**63
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) is bool


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal down to types and to the sign of zero."""
    if type(one) is not type(other):
        return False
    if type(one) is dict:
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if type(one) is list:
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other) and (type(one) is not float or math.copysign(1, one) == math.copysign(1, other))


@ten_thousand(values=JSONISH)
def test_what_is_exactly_json_comes_back_the_same_and_nothing_else_passes(values: list[Any]) -> None:
    refused: list[tuple[Any, str]] = []
    for value in values:
        try:
            body = gate.dumps(value, "input", gate.INPUT_LIMIT)
        except InvalidInput as error:
            refused.append((value, str(error)))
        else:
            assert is_exact(value)
            assert is_same(gate.loads(body), value)
            assert is_same(gate.STDLIB.loads(body), value)
            assert is_same(gate.parse(body, "input", gate.INPUT_LIMIT), value)
    for value, told in refused:
        assert not is_exact(value)
        assert re.match(r"input \$.*: .", told, re.DOTALL)


@ten_thousand(texts=TEXTS)
def test_text_that_somebody_wrote_is_refused_or_read_as_it_is(texts: list[str]) -> None:
    for text in texts:
        for written in (text, json.dumps(text), f'{{"{text}": 1, "{text}": 2}}', f"[{text}]"):
            try:
                value = gate.parse(written, "input", gate.INPUT_LIMIT)
            except InvalidInput:
                continue
            assert is_exact(value)
            assert is_same(gate.loads(gate.dumps(value, "input", gate.INPUT_LIMIT)), value)


def test_deep_wide_and_circular_values_are_refused_at_once() -> None:
    deep: Any = None
    for _ in range(100_000):
        deep = [deep]
    circle: Any = {}
    circle["again"] = [circle]
    doubled: Any = [1]
    for _ in range(60):
        doubled = [doubled, doubled]
    for value, told in ((deep, "nested deeper"), (circle, "contains itself"), (doubled, "bytes of JSON")):
        with pytest.raises(InvalidInput, match=told):
            gate.dumps(value, "input", gate.INPUT_LIMIT)
    # They are taken apart piece by piece, for Python frees what is nested as deep as this by calling itself.
    while deep is not None:
        deep = deep.pop()


PASSED: list[Any] = []


@ten_thousand(values=JSONISH)
def collect(values: list[Any]) -> None:
    PASSED.extend(value for value in values if is_exact(value))


@executor("hostile/keep")
def keep(step: StepContext, values: list[Any]) -> list[Any]:
    for number, value in enumerate(values):
        step.record("values", str(number), value)
    return values


@package("hostile/values")
def hostile_values(run: RunBuilder, values: list[Any]) -> None:
    run.step("keep", keep, values)


def test_a_database_gives_back_what_passed_the_gate(place: Place) -> None:
    """As the input and the result of a step, as records, and in the metadata of a run."""
    if not PASSED:
        collect()
    values = PASSED
    assert len(values) > 3000
    with Runtime(place.store(), entry_points=False) as rt:
        rt.register_executor(keep)
        rt.register_package(hostile_values)
        for start in range(0, len(values), 500):
            some = values[start : start + 500]
            metadata = {"values": [value for value in some[:40] if len(json.dumps(value)) < 100]}
            handle = rt.run("hostile/values", some, metadata=metadata)
            result = rt.result(handle.id, "keep")
            assert result is not None
            assert is_same(result.data, some)
            assert is_same([record.data for record in rt.records(handle.id, collection="values")], some)
            run = rt.workflow(handle.id)
            assert run is not None
            assert is_same(run.metadata["values"], metadata["values"])
            # Two runs with equal inputs are one, so an input is stored in the one form that equal ones share.
            assert run.input == gate.canonical(gate.dumps(some, "input", gate.INPUT_LIMIT)).decode()
            assert json.loads(run.input) == some
