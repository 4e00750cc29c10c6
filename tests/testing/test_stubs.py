"""A stub stands in for an executor: it answers, fails or counts, and remembers what it was asked."""

from __future__ import annotations

import asyncio

import pytest
from attrs import frozen

from flowkit import (
    ExecutorNotRegistered,
    InvalidInput,
    Permanent,
    Retry,
    Retryable,
    RunBuilder,
    RunFailed,
    Runtime,
    StepContext,
    StepHandle,
    executor,
    package,
)
from flowkit.testing import Stubs

pytestmark = pytest.mark.flowkit(modules=[__name__])


@frozen
class Card:
    number: str


@executor("pay/charge", retry=Retry(max_attempts=3))
def charge(card: Card) -> str:
    raise AssertionError("no test calls the bank")


@executor("pay/book")
async def book(step: StepContext, *, receipt: str) -> str:
    raise AssertionError("no test writes into the ledger")


@package("pay")
def pay(run: RunBuilder, card: Card) -> StepHandle[str]:
    return run.step("book", book, receipt=run.step("charge", charge, card))


def test_a_stub_answers_and_remembers_its_calls(flowkit_runtime: Runtime, flowkit_stub: Stubs) -> None:
    bank = flowkit_stub(charge, returns="receipt 1")
    ledger = flowkit_stub("pay/book", returns="page 7")

    assert flowkit_runtime.run("pay", Card("4711")).result() == "page 7"

    assert bank.inputs == [Card("4711")]
    assert [(call.input, call.results, call.step.step_id) for call in ledger.calls] == [
        (None, {"receipt": "receipt 1"}, "book")
    ]


def test_a_stub_fails_as_often_as_it_is_told_to(flowkit_runtime: Runtime, flowkit_stub: Stubs) -> None:
    bank = flowkit_stub(charge, raises=[Retryable("busy"), Retryable("busy")], returns="receipt 3")
    flowkit_stub(book, returns="page 7")

    assert flowkit_runtime.run("pay", Card("4711")).result() == "page 7"

    assert [call.step.attempt for call in bank.calls] == [1, 2, 3]


def test_a_stub_that_always_fails_uses_the_retries_up(flowkit_runtime: Runtime, flowkit_stub: Stubs) -> None:
    bank = flowkit_stub(charge, raises=Retryable("busy"))
    with pytest.raises(RunFailed, match="busy"):
        flowkit_runtime.run("pay", Card("4711")).result()
    assert len(bank.calls) == 3


def test_a_stub_may_be_a_function_that_takes_what_the_executor_takes(
    flowkit_runtime: Runtime, flowkit_stub: Stubs
) -> None:
    def refuse(card: Card) -> str:
        raise Permanent("refused", card.number)

    flowkit_stub(charge, does=refuse)
    flowkit_stub(book, does=lambda step, *, receipt: f"{step.step_id} {receipt}")
    with pytest.raises(RunFailed, match="refused: 4711"):
        flowkit_runtime.run("pay", Card("4711")).result()

    flowkit_stub(charge, does=lambda card: card.number)
    assert flowkit_runtime.run("pay", Card("12")).result() == "book 12"


def test_a_stub_may_be_an_async_function(flowkit_runtime: Runtime, flowkit_stub: Stubs) -> None:
    async def write(step: StepContext, *, receipt: str) -> str:
        await asyncio.sleep(0)
        return f"{receipt} on page {step.attempt}"

    flowkit_stub(charge, returns="receipt 1")
    ledger = flowkit_stub(book, does=write, raises=[Retryable("busy")])

    assert flowkit_runtime.run("pay", Card("4711")).result() == "receipt 1 on page 2"
    assert len(ledger.calls) == 2


def test_an_answer_that_the_executor_could_not_give_is_refused(flowkit_stub: Stubs) -> None:
    with pytest.raises(InvalidInput, match=r"stub of 'pay/charge': returns: result \$: expected str, got int"):
        flowkit_stub(charge, returns=42)


def test_an_exception_that_is_raised_again_and_again_is_told_as_if_it_were_the_first_time(
    flowkit_runtime: Runtime, flowkit_stub: Stubs
) -> None:
    flowkit_stub(charge, raises=Retryable("busy", "later"))
    run = flowkit_runtime.run("pay", Card("4711"))
    (step,) = flowkit_runtime.steps(run.id, status="failed")
    traces = [attempt.error.traceback for attempt in flowkit_runtime.attempts(run.id, step.id) if attempt.error]
    assert len(traces) > 1
    assert len(set(traces)) == 1


def test_a_stub_of_nothing_or_of_two_minds_is_refused(flowkit_stub: Stubs) -> None:
    with pytest.raises(ExecutorNotRegistered, match="'pay/charge'"):
        flowkit_stub("pay/charg")
    with pytest.raises(ExecutorNotRegistered, match="lambda"):
        flowkit_stub(lambda card: None)
    with pytest.raises(TypeError, match="not both"):
        flowkit_stub(charge, returns="receipt", does=lambda card: "receipt")
