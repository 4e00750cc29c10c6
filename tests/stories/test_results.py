"""What executors return is stored exactly, or refused where it was returned; nothing is silently changed."""

from __future__ import annotations

import asyncio
import datetime
import enum
import pathlib
import pickle
import sys
import uuid
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Annotated, Any

import attrs
import pytest

from flowkit import Permanent, ResultNotFound, RunBuilder, RunFailed, Runtime, StepContext, executor, optional
from tests.stories.telling import code_of, echo, standing, start

CYCLE: list[Any] = []
CYCLE.append(CYCLE)
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]


async def coroutine() -> int:
    return 1


REFUSED: dict[str, Any] = {
    "nan": lambda: float("nan"),
    "infinity inside": lambda: {"a": [float("inf")]},
    "open file": lambda: sys.stdout,
    "cycle": lambda: CYCLE,
    "set": lambda: {1, 2},
    "tuple": lambda: (1, 2),
    "number as key": lambda: {1: "one"},
    "huge int": lambda: 2**64,
    "surrogate": lambda: "\udc80",
    "nul": lambda: "a\0b",
    "too deep": lambda: DEEP,
    "bytes": lambda: b"raw",
    "generator": lambda: (n for n in range(3)),
    "class": lambda: int,
    "coroutine": coroutine,
    "too large": lambda: "x" * (8 * 1024 * 1024),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_what_is_no_exact_json_is_refused_and_nothing_of_the_attempt_is_stored(
    flowkit_runtime: Runtime, make: Any
) -> None:
    @executor("odd")
    def odd(step: StepContext):  # type: ignore[no-untyped-def]
        step.record("marks", "it", 1)
        step.artifact("it", b"1")
        step.emit("child", echo, 1)
        return make()

    run = start(flowkit_runtime, lambda run: run.step("a", odd), odd, echo)
    flowkit_runtime.drain()
    assert standing(flowkit_runtime, run.id) == {"a": "failed"}
    result = flowkit_runtime.result(run.id, "a")
    assert result is not None
    assert code_of(flowkit_runtime, run.id, "a") == "invalid_result"
    assert (result.json, result.records, result.artifacts, result.emitted_ids) == (None, (), (), ())


def test_the_refusal_names_the_path(flowkit_runtime: Runtime) -> None:
    @executor("odd")
    def odd(step: StepContext):  # type: ignore[no-untyped-def]
        return {"items": [{"price": 1.5}, {"price": float("nan")}]}

    run = start(flowkit_runtime, lambda run: run.step("a", odd), odd)
    flowkit_runtime.drain()
    result = flowkit_runtime.result(run.id, "a")
    assert result is not None
    assert result.error is not None
    assert result.error.message.startswith("result $.items[1].price: NaN")


def test_a_result_that_does_not_fit_its_annotation_is_refused(flowkit_runtime: Runtime) -> None:
    @executor("odd")
    def odd(step: StepContext) -> int:
        return "5"  # type: ignore[return-value]

    run = start(flowkit_runtime, lambda run: run.step("a", odd), odd)
    flowkit_runtime.drain()
    assert code_of(flowkit_runtime, run.id, "a") == "invalid_result"


@pytest.mark.parametrize("with_value", [True, False])
def test_setting_a_result_and_returning_one_is_an_error(flowkit_runtime: Runtime, with_value: bool) -> None:
    @executor("twice")
    def twice(step: StepContext):  # type: ignore[no-untyped-def]
        step.result(1)
        if with_value:
            return 2
        step.result(2)
        return None

    run = start(flowkit_runtime, lambda run: run.step("a", twice), twice)
    flowkit_runtime.drain()
    assert code_of(flowkit_runtime, run.id, "a") == "result_set_twice"


def test_setting_a_result_says_the_same_as_returning_it(flowkit_runtime: Runtime) -> None:
    @executor("set")
    def set_it(step: StepContext) -> int | None:
        step.result(5)
        return None

    run = start(flowkit_runtime, lambda run: run.step("a", set_it), set_it)
    flowkit_runtime.drain()
    assert run.result() == 5


def test_a_step_that_returns_nothing_succeeds_without_data(flowkit_runtime: Runtime) -> None:
    @executor("nothing")
    def nothing(step: StepContext) -> None:
        return None

    run = start(flowkit_runtime, lambda run: run.step("a", nothing), nothing)
    assert flowkit_runtime.result(run.id, "a") is None
    flowkit_runtime.drain()
    result = flowkit_runtime.result(run.id, "a")
    assert result is not None
    assert (result.data, result.json, result.status) == (None, None, "succeeded")
    assert run.result() is None


class Color(enum.Enum):
    RED = "red"


@attrs.frozen
class Everything:
    at: datetime.datetime
    day: datetime.date
    id: uuid.UUID
    color: Color
    price: Decimal
    path: pathlib.Path
    data: bytes
    pair: tuple[int, str]
    tags: set[str]
    maybe: int | None = None


EVERYTHING = Everything(
    at=datetime.datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=datetime.timezone.utc),
    day=datetime.date(2024, 2, 29),
    id=uuid.UUID(int=7),
    color=Color.RED,
    price=Decimal("1.10"),
    path=pathlib.Path("a/b"),
    data=b"\x00\xff",
    pair=(1, "one"),
    tags={"x", "y"},
)


def test_typed_values_come_out_equal_to_what_went_in(flowkit_runtime: Runtime) -> None:
    got: list[Everything] = []

    @executor("make")
    def make(step: StepContext, input: Everything) -> Everything:
        got.append(input)
        return input

    @executor("use")
    def use(step: StepContext, *, made: Everything) -> Everything:
        got.append(made)
        return made

    run = start(flowkit_runtime, lambda run: run.step("use", use, made=run.step("make", make, EVERYTHING)), make, use)
    flowkit_runtime.drain()
    assert [*got, run.result()] == [EVERYTHING] * 3
    typed = flowkit_runtime.result(run.id, "use", Everything)
    assert typed is not None
    assert typed.data == EVERYTHING


def test_the_result_of_one_step_and_another_type_can_be_asked_for(flowkit_runtime: Runtime) -> None:
    @executor("make")
    def make(step: StepContext) -> Everything:
        return EVERYTHING

    run = start(flowkit_runtime, lambda run: [run.step("a", make), run.step("b", make)], make)
    flowkit_runtime.drain()
    assert run.result("a") == EVERYTHING
    assert run.result("a", dict[str, Any])["color"] == "red"
    assert run.result() == [EVERYTHING, EVERYTHING]


def test_a_run_with_several_first_steps_and_no_output_says_to_return_a_handle(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> None:
        run.step("a", echo, 1)
        run.step("b", echo, 2)

    run = start(flowkit_runtime, describe, echo)
    flowkit_runtime.drain()
    with pytest.raises(ResultNotFound, match="return a handle"):
        run.result()


def test_the_output_of_a_group_is_a_list_in_input_order(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.map("a", echo, [3, 1, 2]), echo)
    flowkit_runtime.drain()
    assert run.result() == [3, 1, 2]


@executor("odd-only")
def odd_only(n: int) -> int:
    if n % 2 == 0:
        raise Permanent("even", "no odd number")
    return n


def test_a_step_that_may_fail_and_did_has_no_result(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.step("a", odd_only, 2, allow_failure=True), odd_only)
    flowkit_runtime.drain()
    assert run.status() == "succeeded"
    for ask in (run.result, lambda: run.result("a"), lambda: run.result("a", int)):
        with pytest.raises(ResultNotFound, match=r"step 'a' of run '.*' failed: even: no odd number; rt.res") as told:
            ask()
        assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)


def test_a_step_that_was_canceled_has_no_result(flowkit_runtime: Runtime) -> None:
    def describe(run: RunBuilder) -> Any:
        return run.step("a", odd_only, 2, allow_failure=True) >> run.step("b", odd_only, 1, allow_failure=True)

    run = start(flowkit_runtime, describe, odd_only)
    flowkit_runtime.drain()
    with pytest.raises(ResultNotFound, match=r"step 'b' of run '.*' was canceled \(dependency:a\)"):
        run.result()


def test_in_the_list_of_a_group_none_stands_for_a_step_that_did_not_succeed(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.map("a", odd_only, [2, 1, 4, 3], allow_failure=True), odd_only)
    flowkit_runtime.drain()
    assert run.result() == [None, 1, None, 3]


def test_a_step_that_succeeded_has_its_result_also_in_a_run_that_failed(flowkit_runtime: Runtime) -> None:
    run = start(flowkit_runtime, lambda run: run.map("a", odd_only, [1, 2]), odd_only)
    flowkit_runtime.drain()
    assert run.result("a[0]") == 1
    for ask in (run.result, lambda: run.result("a[1]"), lambda: run.result("no such step")):
        with pytest.raises(RunFailed):
            ask()


def test_an_async_executor_returns_its_result_too(flowkit_runtime: Runtime) -> None:
    @executor("soon")
    async def soon(step: StepContext, input: int) -> int:
        await asyncio.sleep(0)
        return input

    run = start(flowkit_runtime, lambda run: run.map("a", soon, [1, 2]), soon)
    flowkit_runtime.drain()
    assert run.result() == [1, 2]
    run = start(flowkit_runtime, lambda run: run.map("a", soon, range(50)))
    with flowkit_runtime.workers():
        assert run.result(timeout=30) == list(range(50))


@attrs.frozen
class Size:
    n: int


SIZES = [Size(1), Size(2), Size(1)]
COLLECTIONS: dict[str, tuple[Any, Any]] = {
    "list": (list[Size], SIZES),
    "list or None": (list[Size] | None, SIZES),
    "sequence or None": (Sequence[Size] | None, SIZES),
    "tuple or None": (tuple[Size, ...] | None, tuple(SIZES)),
    "set": (set[Size], set(SIZES)),
    "annotated frozenset": (Annotated[frozenset[Size], "sizes"], frozenset(SIZES)),
    "any set": (AbstractSet[Size], frozenset(SIZES)),
    "bare set": (set, {1, 2}),
    "bare list": (list, [1, 2, 1]),
    "anything": (Any, [1, 2, 1]),
}


@pytest.mark.parametrize(("annotation", "arrives"), COLLECTIONS.values(), ids=COLLECTIONS)
def test_the_results_of_a_group_arrive_in_the_collection_that_is_asked_for(
    flowkit_runtime: Runtime, annotation: Any, arrives: Any
) -> None:
    seen: list[Any] = []
    is_typed = "Size" in str(annotation)

    @executor("size")
    def size(n: int) -> Any:
        return {"n": n} if is_typed else n

    def together(step: StepContext, *, sizes: Any) -> None:
        seen.append(sizes)

    together.__annotations__["sizes"] = annotation
    gather = executor("together")(together)
    run = start(
        flowkit_runtime, lambda run: run.step("all", gather, sizes=run.map("a", size, [1, 2, 1])), size, gather
    )
    flowkit_runtime.drain()
    assert run.status() == "succeeded"
    assert seen == [arrives]
    assert type(seen[0]) is type(arrives)



def test_each_result_of_a_list_fits_its_own_place_in_a_tuple(flowkit_runtime: Runtime) -> None:
    seen: list[Any] = []

    @executor("size")
    def size(n: int) -> Size:
        return Size(n)

    @executor("number")
    def number() -> int:
        return 7

    @executor("pair")
    def pair(step: StepContext, *, both: tuple[Size, int]) -> None:
        seen.append(both)

    def describe(run: RunBuilder) -> None:
        run.step("pair", pair, both=[run.step("a", size, 1), run.step("b", number)])

    start(flowkit_runtime, describe, size, number, pair)
    flowkit_runtime.drain()
    assert seen == [(Size(1), 7)]


@pytest.mark.parametrize("optionally", [False, True], ids=["returned nothing", "failed"])
@pytest.mark.parametrize(
    ("annotation", "many", "fits"),
    [(int, False, False), (list[int], True, False), (int | None, False, True), (list[int | None], True, True)],
    ids=str,
)
def test_a_step_without_a_result_is_none_to_a_parameter_that_takes_none_and_a_misfit_to_any_other(
    flowkit_runtime: Runtime, annotation: Any, *, many: bool, fits: bool, optionally: bool
) -> None:
    seen: list[Any] = []

    @executor("nothing")
    def nothing(step: StepContext) -> int:
        if optionally:
            raise Permanent("broken")
        return None  # type: ignore[return-value]

    def use(step: StepContext, *, found: Any) -> None:
        seen.append(found)

    use.__annotations__["found"] = annotation
    user = executor("use")(use)

    def describe(run: RunBuilder) -> None:
        source = run.step("source", nothing)
        found: Any = [source] if many else source
        run.step("use", user, found=optional(found) if optionally else found)

    run = start(flowkit_runtime, describe, nothing, user)
    flowkit_runtime.drain()
    if fits:
        assert seen == [[None] if many else None]
        return
    assert seen == []
    where = r"'found'\[0\]" if many else "'found'"
    with pytest.raises(
        RunFailed, match=rf"result bound to {where} \$: expected int, got None; .* let the parameter be X \| None"
    ):
        run.result("use")


def test_the_message_names_which_of_a_list_of_results_does_not_fit(flowkit_runtime: Runtime) -> None:
    @executor("any")
    def any_of(value: Any) -> Any:
        return value

    @executor("sum")
    def summed(*, numbers: list[int]) -> int:
        return sum(numbers)

    def describe(run: RunBuilder) -> None:
        run.step("sum", summed, numbers=run.map("n", any_of, [1, 2, "three"]))

    run = start(flowkit_runtime, describe, any_of, summed)
    flowkit_runtime.drain()
    with pytest.raises(RunFailed, match=r"result bound to 'numbers'\[2\] \$: expected int, got str"):
        run.result()


@pytest.mark.parametrize("single_first", [False, True])
def test_a_parameter_takes_a_list_of_results_here_and_one_that_is_a_list_there(
    flowkit_runtime: Runtime, *, single_first: bool
) -> None:
    seen: list[Any] = []

    @executor("numbers")
    def numbers() -> list[int]:
        return [1, 2]

    @executor("number")
    def number(n: int) -> int:
        return n

    @executor("use")
    def use(step: StepContext, *, values: list[int]) -> None:
        seen.append(values)

    def describe(run: RunBuilder) -> None:
        run.step("one", use, values=run.step("numbers", numbers), priority=-1 if single_first else 1)
        run.step("many", use, values=run.map("number", number, [1, 2]))

    start(flowkit_runtime, describe, numbers, number, use)
    flowkit_runtime.drain()
    assert seen == [[1, 2], [1, 2]]
