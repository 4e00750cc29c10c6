"""However an executor fails, the step gets an error that says so, and the worker goes on."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from flowkit import Permanent, Retry, Retryable, RunFailed, Runtime, StepContext, StepError, executor
from flowkit.testing import FakeClock
from tests.stories.telling import echo, outcomes, standing, start


class Unspeakable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")


class Bossy(Exception):
    """Its text ends the program."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Mute(Retryable):
    """It leaves out what every step failure has."""

    def __init__(self) -> None:
        pass


class Strange(Permanent):
    """Its details and code are no text."""

    def __init__(self) -> None:
        super().__init__("strange")
        self.code = object()  # type: ignore[assignment]
        self.details = {"self": self, "odd": float("nan")}


def recursing() -> Any:
    def recurse(step: StepContext) -> Any:
        return recurse(step)

    return recurse


def raising(error: BaseException) -> Any:
    def fail(step: StepContext) -> None:
        raise error

    return fail


def error_of(runtime: Runtime, function: Any, *, in_pool: bool = False, **options: Any) -> StepError:
    """Run a step whose executor is *function*, next to one that does well, and return its error."""
    bad = executor("bad")(function)
    run = start(runtime, lambda run: [run.step("bad", bad, **options), run.step("good", echo, 1)], bad, echo)
    if in_pool:
        with runtime.workers():
            run.wait(timeout=30)
    else:
        runtime.drain()
    assert standing(runtime, run.id) == {"bad": "failed", "good": "succeeded"}
    result = runtime.result(run.id, "bad")
    assert result is not None
    assert result.error is not None
    json.dumps(result.error.message).encode()
    return result.error


@pytest.mark.parametrize("in_pool", [False, True], ids=["in this thread", "in a pool"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no such page"), "ValueError: no such page"),
        (ValueError(), "ValueError"),
        (Unspeakable(), "<Unspeakable: its text cannot be shown>"),
        (Bossy(), "<Bossy: its text cannot be shown>"),
        (SystemExit(2), "SystemExit: 2"),
        (GeneratorExit(), "GeneratorExit"),
        (ValueError("nul \0 and surrogate \udc80"), "ValueError: nul \\x00 and surrogate \\udc80"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_any_exception_fails_its_step_and_nothing_else(
    flowkit_runtime: Runtime, in_pool: bool, error: BaseException, message: str
) -> None:
    told = error_of(flowkit_runtime, raising(error), in_pool=in_pool)
    assert told.code == "executor_error"
    assert message in told.message
    assert not told.retryable


def test_endless_recursion_is_an_error_of_the_step(flowkit_runtime: Runtime) -> None:
    assert "RecursionError" in error_of(flowkit_runtime, recursing()).message


def test_ctrl_c_in_a_pool_thread_is_an_error_of_the_step(flowkit_runtime: Runtime) -> None:
    assert "KeyboardInterrupt" in error_of(flowkit_runtime, raising(KeyboardInterrupt()), in_pool=True).message


INTERRUPTS: list[BaseException] = [KeyboardInterrupt()]
if sys.version_info >= (3, 11):  # before, Python has no groups of exceptions
    INTERRUPTS.append(BaseExceptionGroup("as of trio", [ValueError("bad"), KeyboardInterrupt()]))  # noqa: F821


@pytest.mark.parametrize("error", INTERRUPTS, ids=["alone", "in a group"][: len(INTERRUPTS)])
def test_ctrl_c_while_the_program_runs_a_step_itself_is_the_programs(
    flowkit_runtime: Runtime, error: BaseException
) -> None:
    interrupted: list[int] = []

    @executor("interrupted")
    def interrupt(step: StepContext) -> str:
        if not interrupted:
            interrupted.append(step.attempt)
            raise error
        return "done"

    run = start(flowkit_runtime, lambda run: run.step("a", interrupt, retry=Retry(max_attempts=1)), interrupt)
    with pytest.raises(KeyboardInterrupt):
        flowkit_runtime.run_once()
    assert outcomes(flowkit_runtime, run.id, "a") == [(1, "released")]
    flowkit_runtime.drain()
    assert run.result() == "done"


def test_an_error_tells_its_code_message_details_and_traceback(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock
) -> None:
    error = error_of(flowkit_runtime, raising(Permanent("no_page", "page 3 is missing", details={"page": 3})))
    assert (error.code, error.message, error.retryable) == ("no_page", "page 3 is missing", False)
    assert error.details == {"page": 3}
    assert error.occurred_at == flowkit_clock.now()
    assert "raise error" in (error.traceback or "")


@pytest.mark.parametrize("failure", [Permanent, Retryable])
def test_a_failure_may_be_made_from_an_exception(flowkit_runtime: Runtime, failure: Any) -> None:
    error = error_of(flowkit_runtime, raising(failure("no_page", KeyError("three"))), retry=Retry(max_attempts=1))
    assert (error.code, error.message) == ("no_page", "'three'")


def test_the_message_of_a_failure_is_its_code_where_none_is_given(flowkit_runtime: Runtime) -> None:
    assert error_of(flowkit_runtime, raising(Permanent("no_page"))).message == "no_page"


def test_a_cause_whose_text_cannot_be_shown_leaves_the_failure_what_it_is(flowkit_runtime: Runtime) -> None:
    error = error_of(flowkit_runtime, raising(Permanent("no_page", Unspeakable())))
    assert (error.code, error.message) == ("no_page", "<Unspeakable: its text cannot be shown>")


@pytest.mark.parametrize("failure", [Mute(), Strange()], ids=["mute", "strange"])
def test_a_step_failure_that_is_not_what_it_should_be_is_recorded_all_the_same(
    flowkit_runtime: Runtime, failure: Exception
) -> None:
    assert error_of(flowkit_runtime, raising(failure), retry=Retry(max_attempts=1)).code


def test_a_very_long_message_is_cut(flowkit_runtime: Runtime) -> None:
    error = error_of(flowkit_runtime, raising(ValueError("x" * 1_000_000)))
    assert len(error.message) <= 16 * 1024
    assert len(error.traceback or "") <= 32 * 1024


def test_details_that_are_no_json_are_shown_as_well_as_may_be(flowkit_runtime: Runtime) -> None:
    error = error_of(flowkit_runtime, raising(Permanent("odd", details={"file": sys.stdout, "n": 1})))
    assert error.code == "odd"
    assert error.details["n"] == 1


def test_a_failed_run_raises_with_the_errors_of_its_steps(flowkit_runtime: Runtime) -> None:
    bad = executor("bad")(raising(Permanent("no_page", "page 3 is missing")))
    run = start(flowkit_runtime, lambda run: run.step("a", bad), bad)
    flowkit_runtime.drain()
    with pytest.raises(RunFailed, match="a: no_page: page 3 is missing") as failed:
        run.result()
    assert failed.value.errors["a"].code == "no_page"
