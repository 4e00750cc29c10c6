"""Starting a run stores it with all its first steps, or nothing; a ``run_id`` makes starting idempotent."""

from __future__ import annotations

import uuid
from typing import Any

import attrs
import pytest

from flowkit import (
    ConfigError,
    InvalidInput,
    PackageNotRegistered,
    RunBuilder,
    RunConflict,
    Runtime,
    package,
)
from flowkit.testing import FakeClock
from tests.stories.conftest import OpenRuntime
from tests.stories.telling import echo, register

CALLS: list[Any] = []


@pytest.fixture(autouse=True)
def calls() -> list[Any]:
    CALLS.clear()
    return CALLS


@package("greet")
def greet(run: RunBuilder, input: dict[str, Any]) -> Any:
    CALLS.append(input)
    run.name = "from the entrypoint"
    run.metadata["a"] = "from the entrypoint"
    run.metadata["b"] = "from the entrypoint"
    if input.get("fail"):
        raise ZeroDivisionError
    return run.step("root", echo, input)


@package("part")
def part(run: RunBuilder, input: Any) -> Any:
    return run.step("root", echo, input)


@pytest.fixture
def runtime(flowkit_runtime: Runtime) -> Runtime:
    register(flowkit_runtime, echo, greet, part)
    return flowkit_runtime


def test_a_run_is_started_by_function_or_by_name(runtime: Runtime) -> None:
    runs = [runtime.start_run(greet, {"n": 1}), runtime.start_run("greet", {"n": 1})]
    runtime.drain()
    assert [run.result() for run in runs] == [{"n": 1}, {"n": 1}]
    assert runs[0].id != runs[1].id


def test_the_id_of_a_run_is_its_package_and_a_time_ordered_uuid(runtime: Runtime, flowkit_clock: FakeClock) -> None:
    first = runtime.start_run(greet, {}).id
    flowkit_clock.advance(1)
    second = runtime.start_run(greet, {}).id
    assert first.startswith("greet-")
    assert uuid.UUID(first.removeprefix("greet-")).version == 7
    assert first < second


def test_what_the_caller_says_wins_over_the_entrypoint(runtime: Runtime) -> None:
    run = runtime.start_run(greet, {}, name="from the caller", metadata={"b": "from the caller", "c": [1]})
    stored = runtime.workflow(run.id)
    assert stored is not None
    assert (run.name, stored.name) == ("from the caller", "from the caller")
    assert stored.metadata == {"a": "from the entrypoint", "b": "from the caller", "c": [1]}


def test_what_the_entrypoint_says_stands_where_the_caller_says_nothing(runtime: Runtime) -> None:
    run = runtime.start_run(greet, {})
    assert run.name == "from the entrypoint"


def test_the_same_id_with_the_same_input_is_the_run_that_is_there(runtime: Runtime, calls: list[Any]) -> None:
    first = runtime.start_run(greet, {"a": 1, "b": 2}, run_id="once", name="first")
    again = runtime.start_run(greet, {"b": 2, "a": 1}, run_id="once", name="second", metadata={"n": 2})
    assert (first.created, again.created) == (True, False)
    assert (again.id, again.package, again.name) == ("once", "greet", "first")
    assert len(calls) == 1
    assert len(runtime.steps("once")) == 1


@pytest.mark.parametrize("other", [("greet", {"a": 2}), ("part", {"a": 1})])
def test_the_same_id_with_other_content_is_a_conflict_and_changes_nothing(runtime: Runtime, other: Any) -> None:
    runtime.start_run(greet, {"a": 1}, run_id="once")
    before = runtime.workflow("once"), runtime.history("once")
    name, given = other
    with pytest.raises(RunConflict) as conflict:
        runtime.start_run(name, given, run_id="once", name="other")
    assert conflict.value.run_id == "once"
    assert (runtime.workflow("once"), runtime.history("once")) == before


def test_the_same_id_is_the_same_run_though_its_input_has_got_a_new_field(
    open_runtime: OpenRuntime, runtime: Runtime
) -> None:
    @attrs.frozen
    class Order:
        number: int

    old, added = Order, {"color": attrs.field(default="red", type=str)}
    new = attrs.make_class("Order", added, bases=(Order,), frozen=True)

    def program(order: Any) -> Runtime:
        def describe(run: RunBuilder, input: Any) -> None:
            run.step("only", "echo", 1)

        describe.__annotations__["input"] = order
        return open_runtime(echo, package("order")(describe))

    assert program(old).start_run("order", {"number": 17}, run_id="order-17").created
    after = program(new)
    assert not after.start_run("order", {"number": 17}, run_id="order-17").created
    assert not after.start_run("order", new(17), run_id="order-17").created
    for other in (new(17, "blue"), new(18), {"number": 17, "color": "blue"}):
        with pytest.raises(RunConflict, match="another input"):
            after.start_run("order", other, run_id="order-17")


def test_an_id_is_taken_for_good_once_its_run_has_ended(runtime: Runtime) -> None:
    runtime.start_run(greet, {"a": 1}, run_id="once")
    runtime.drain()
    assert not runtime.start_run(greet, {"a": 1}, run_id="once").created
    with pytest.raises(RunConflict):
        runtime.start_run(greet, {"a": 2}, run_id="once")


def test_an_id_is_shared_by_all_processes_of_a_store(runtime: Runtime, open_runtime: OpenRuntime) -> None:
    runtime.start_run(greet, {"a": 1}, run_id="once")
    assert not open_runtime(echo, greet).start_run(greet, {"a": 1}, run_id="once").created


def test_an_entrypoint_that_raises_stores_nothing(runtime: Runtime) -> None:
    with pytest.raises(ZeroDivisionError):
        runtime.start_run(greet, {"fail": True}, run_id="once")
    assert len(runtime.runs()) == 0
    assert runtime.start_run(greet, {}, run_id="once").created


def test_many_runs_are_started_in_one_transaction(runtime: Runtime) -> None:
    runs = runtime.start_runs(greet, [{"n": n} for n in range(5)], name="batch", metadata={"m": 1})
    runtime.drain()
    assert [run.result() for run in runs] == [{"n": n} for n in range(5)]
    assert {run.name for run in runtime.runs(metadata={"m": 1})} == {"batch"}


def test_of_many_runs_one_that_cannot_be_started_takes_all_along(runtime: Runtime) -> None:
    with pytest.raises(ZeroDivisionError):
        runtime.start_runs(greet, [{}, {"fail": True}, {}])
    with pytest.raises(InvalidInput, match=r"inputs\[1\]: input \$: expected"):
        runtime.start_runs(greet, [{}, 5])
    assert len(runtime.runs()) == 0


@pytest.mark.parametrize("inputs", [5, "abc", b"abc", {"a": 1}])
def test_inputs_that_are_no_list_are_refused(runtime: Runtime, inputs: Any) -> None:
    with pytest.raises(ConfigError, match="inputs"):
        runtime.start_runs(greet, inputs)
    assert len(runtime.runs()) == 0


def test_no_runs_are_started_for_no_inputs(runtime: Runtime) -> None:
    assert runtime.start_runs(greet, []) == []


def test_a_package_that_is_not_registered_is_refused_and_the_nearest_one_named(runtime: Runtime) -> None:
    with pytest.raises(PackageNotRegistered, match="workflow package 'gret' is not registered; did you mean 'greet'"):
        runtime.start_run("gret", {})


def test_a_name_that_is_the_id_of_a_run_says_how_to_read_it(runtime: Runtime) -> None:
    run = runtime.start_run(greet, {})
    with pytest.raises(PackageNotRegistered, match=r"rt\.workflow\(\)"):
        runtime.start_run(run.id)


def test_a_package_that_another_process_registered_says_from_which_module(
    runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    with pytest.raises(PackageNotRegistered, match="test_starting"):
        open_runtime().start_run("greet", {})


@pytest.mark.parametrize(
    ("given", "error", "field"),
    [
        ({"run_id": ""}, ConfigError, "run_id"),
        ({"run_id": " x"}, ConfigError, "run_id"),
        ({"run_id": "x" * 201}, ConfigError, "run_id"),
        ({"run_id": "a\nb"}, ConfigError, "run_id"),
        ({"run_id": 5}, ConfigError, "run_id"),
        ({"name": ""}, ConfigError, "name"),
        ({"metadata": {"n": float("nan")}}, InvalidInput, "metadata"),
        ({"metadata": {1: 2}}, InvalidInput, "metadata"),
        ({"metadata": {"x": "y" * 20_000}}, InvalidInput, "metadata"),
        ({"metadata": 5}, InvalidInput, "metadata"),
        ({"metadata": ["a"]}, InvalidInput, "metadata"),
        ({"metadata": []}, InvalidInput, "metadata"),
        ({"metadata": ""}, InvalidInput, "metadata"),
    ],
)
def test_what_may_not_be_said_of_a_run_is_named(
    runtime: Runtime, given: dict[str, Any], error: type[Exception], field: str
) -> None:
    with pytest.raises(error, match=field):
        runtime.start_run(greet, {}, **given)
    assert len(runtime.runs()) == 0


@pytest.mark.parametrize("metadata", [None, 5, {"n": float("nan")}])
def test_metadata_of_the_entrypoint_that_is_none_is_refused(runtime: Runtime, metadata: Any) -> None:
    @package("odd")
    def odd(run: RunBuilder) -> None:
        run.metadata = metadata
        run.step("a", echo, 1)

    register(runtime, odd)
    with pytest.raises(InvalidInput, match=r"run\.metadata"):
        runtime.start_run("odd")


def test_something_that_is_no_package_is_refused(runtime: Runtime) -> None:
    for wrong in (echo, len, 5, None):
        with pytest.raises(ConfigError, match="package"):
            runtime.start_run(wrong, {})  # type: ignore[arg-type]
