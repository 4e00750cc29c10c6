"""Runs ONE attempt: decode, call, collect, classify; it never raises for the user's errors."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from flowkit.clock import Micros
from flowkit.dsl.graph import DuplicateStep
from flowkit.errors import (
    GraphError,
    InvalidInput,
    LeaseLost,
    LimitExceeded,
    Permanent,
    RunCanceled,
    StepFailure,
)
from flowkit.model.outcome import (
    AttemptTimeout,
    Failed,
    Outcome,
    Released,
    Retried,
    Succeeded,
    causes_of,
    decide,
    is_a,
    is_group,
    safe_text,
)
from flowkit.model.step import Settlement
from flowkit.runtime.attempts import Attempt
from flowkit.runtime.context import StepContext
from flowkit.runtime.instruments import Instruments
from flowkit.runtime.misfits import Misfit
from flowkit.runtime.results import gathered
from flowkit.runtime.services import Services


def run_attempt(attempt: Attempt, services: Services, *, interrupts: bool = False) -> Outcome:
    """Run one attempt of one step in this thread and say how it ended.

    Raises:
        KeyboardInterrupt: where *interrupts* says that it is the program's.
    """
    if services.instruments is not None and services.instruments.attempts:
        with services.instruments.around_attempt(attempt.leased) as tell:
            outcome = _run(attempt, services, interrupts=interrupts)
            tell(outcome, attempt.stop_reason)
            return outcome
    return _run(attempt, services, interrupts=interrupts)


def _run(attempt: Attempt, services: Services, *, interrupts: bool) -> Outcome:
    try:
        context = StepContext(attempt, services)
        returned = _call(attempt, context)
        if inspect.iscoroutine(returned):
            returned.close()
            raise _Refused("invalid_result", "the executor returned a coroutine; declare it with async def")
        return _collected(attempt, context, returned)
    except BaseException as error:
        attempt.has_returned = True
        if interrupts and any(is_a(cause, KeyboardInterrupt) for cause in causes_of(error)):
            if is_group(error):
                # As other event loops raise it; a program looks for it alone.
                raise KeyboardInterrupt from error
            raise
        return failure(attempt, error, services.now())


def run_attempt_async(attempt: Attempt, services: Services) -> Coroutine[Any, Any, Outcome]:
    """Run one attempt of an ``async def`` executor on this thread's event loop and say how it ended."""
    if services.instruments is not None and services.instruments.attempts:
        return _run_told(attempt, services, services.instruments)
    return _run_async(attempt, services)


async def _run_told(attempt: Attempt, services: Services, instruments: Instruments) -> Outcome:
    with instruments.around_attempt(attempt.leased) as tell:
        outcome = await _run_async(attempt, services)
        tell(outcome, attempt.stop_reason)
        return outcome


async def _run_async(attempt: Attempt, services: Services) -> Outcome:
    try:
        context = StepContext(attempt, services)
        return _collected(attempt, context, await _call(attempt, context))
    except BaseException as error:
        attempt.has_returned = True
        # A task that is canceled was told to stop: its settlement is decided by who told it.
        return failure(attempt, error, services.now())


def _call(attempt: Attempt, context: StepContext) -> Any:
    leased, executable = attempt.leased, attempt.executable
    if leased.damage is not None:
        raise _Refused("data_corrupted", leased.damage)
    signature = executable.signature
    arguments: list[Any] = [context] if signature.takes_context else []
    if signature.takes_input:
        arguments.append(_decoded(executable.decode_input, leased.input))
    if not leased.bindings:
        return executable.definition.function(*arguments)
    return executable.definition.function(*arguments, **_bound(attempt))


def _bound(attempt: Attempt) -> dict[str, Any]:
    leased, executable = attempt.leased, attempt.executable
    values: dict[str, Any] = {}
    for binding in leased.bindings:
        parameter = executable.signature.results.get(binding.name)
        if parameter is None:
            message = f"executor {leased.kind!r} has no result parameter {binding.name!r} any more"
            raise _Refused("invalid_input", message)
        places = [place for span in binding.spans for place in range(int(span[0]), int(span[1]) + 1)]
        bodies = [leased.results.get(place) for place in places]
        decoded = [_decoded(executable.decode_result, binding, body, at) for at, body in enumerate(bodies)]
        values[binding.name] = gathered(parameter.annotation, decoded) if binding.many else decoded[0]
    return values


def _decoded(decode: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return decode(*arguments)
    except InvalidInput as error:
        raise _Refused("invalid_input", str(error)) from error


def _collected(attempt: Attempt, context: StepContext, returned: Any) -> Succeeded:
    attempt.has_returned = True
    if returned is not None:
        if context.has_result:
            raise _Refused("result_set_twice", "the executor set a result and returned another one")
        context.value = returned
    body = digest = None
    if context.value is not None:
        body = _encoded(attempt, context.value)
        digest = hashlib.sha256(body).digest()
    emission = context.emitted.finish() if context.emitted is not None else None
    return Succeeded(body, digest, tuple(context.records.values()), tuple(context.artifacts.values()), emission)


def _encoded(attempt: Attempt, value: Any) -> bytes:
    try:
        return attempt.executable.encode_result(value)
    except InvalidInput as error:
        raise _Refused("invalid_result", str(error)) from error


class _Refused(Permanent):
    """A permanent failure that flowkit itself decides on."""


_STOPPED = (asyncio.CancelledError, LeaseLost, RunCanceled, AttemptTimeout)


def failure(attempt: Attempt, error: BaseException, now: Micros) -> Retried | Failed | Released:
    """Say what an exception means for the step; one that only says "I was told to stop" is no failure of it."""
    leased = attempt.leased
    if attempt.stop_reason not in (None, "timeout") and all(is_a(cause, *_STOPPED) for cause in causes_of(error)):
        return Released()
    told = error if is_a(error, StepFailure) else _known(error)
    return decide(told, retry=leased.retry, attempt=leased.attempt, now=now, draw=random.random())


def _known(error: BaseException) -> BaseException:
    """Return flowkit's own refusal with its code, also where it is in a group; any other exception as it is."""
    for cause in causes_of(error):
        code = _code_of(cause)
        if code is not None:
            refused = _Refused(code, safe_text(partial(str, cause), fallback=code))
            refused.__traceback__ = cause.__traceback__
            refused.__cause__ = error if cause is not error else None
            return refused
    return error


def _code_of(error: BaseException) -> str | None:
    # The first that fits counts: a step that is declared twice is a GraphError too.
    codes = {DuplicateStep: "emit_conflict", GraphError: "graph_error", LimitExceeded: "limit_exceeded"}
    if type(error) is Misfit:
        return error.code
    return next((code for kind, code in codes.items() if is_a(error, kind)), None)


def settlement(attempt: Attempt, outcome: Outcome, now: Micros) -> Settlement:
    """Return an attempt's outcome in the form that is settled."""
    return Settlement(attempt.leased, outcome, now, attempt.progress)
