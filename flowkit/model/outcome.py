"""How an attempt ended, as a value, and the one function that decides it."""

from __future__ import annotations

import builtins
import traceback as traceback_module
from collections.abc import Mapping
from typing import Any, Union

import attrs

from flowkit.clock import Micros, in_seconds, micros
from flowkit.errors import LONGEST_WISH, InvalidInput, Permanent, Retryable, StepFailure
from flowkit.model.gate import check, dumps
from flowkit.model.outputs import NewArtifact, NewRecord
from flowkit.model.plan import Plan
from flowkit.model.retry import Retry
from flowkit.model.struct import struct

TEXT_LIMIT = 16 * 1024
TRACEBACK_LIMIT = 32 * 1024

EXECUTOR_ERROR = "executor_error"
GIVEN_UP = "it is not tried again, for no type of its exception is listed in Retry(on=...)"
"""What people are told of a step that has attempts left."""
WORKER_LOST = "worker_lost"
TIMEOUT = "timeout"


@attrs.frozen
class StepError:
    """Why an attempt failed, as it is stored.

    Attributes:
        code: of the ``Permanent`` or ``Retryable`` that was raised, else one of flowkit's own.
        message: for people; at most 16 KiB.
        retryable: whether the policy could allow another attempt.
        details: the JSON object that the executor raised with it.
        traceback: Python's, at most 32 KiB; None where no exception was raised.
        occurred_at: when, in microseconds UTC.
    """

    code: str
    message: str
    retryable: bool = False
    details: Any = None
    traceback: str | None = None
    occurred_at: Micros = 0


@struct
class Succeeded:
    """The executor returned; everything it hands over lands in one commit, or nothing does."""

    body: bytes | None = None
    sha256: bytes | None = None
    records: tuple[NewRecord, ...] = ()
    artifacts: tuple[NewArtifact, ...] = ()
    emission: Plan | None = None


@struct
class Retried:
    """The attempt failed; another starts no sooner than *delay* after the settlement."""

    error: StepError
    delay: Micros = 0


@struct
class Failed:
    """The attempt failed and there will be no other."""

    error: StepError


@struct
class Released:
    """The worker stopped before the attempt ended; it is not counted."""


Outcome = Union[Succeeded, Retried, Failed, Released]


_GROUP: Any = getattr(builtins, "BaseExceptionGroup", None)
"""What holds several exceptions, where Python has it."""


class AttemptTimeout(Exception):
    """The attempt ran longer than its ``timeout``."""


class WorkerLost(Exception):
    """The process that ran the attempt died."""


def decide(
    error: BaseException, *, retry: Retry, attempt: int, now: Micros, draw: float = 0.0
) -> Retried | Failed:
    """Say what an error means for a step: try again later, or give up.

    Args:
        error: what the attempt raised.
        retry: the step's stored policy.
        attempt: the 1-based attempt that failed; it has been charged already.
        draw: a random number in 0..1 for the jitter.
    """
    causes = causes_of(error)
    again = all(_is_worth_another(cause, retry) for cause in causes)
    told = attrs.evolve(step_error(error, now), retryable=again)
    if not again or attempt >= retry.max_attempts:
        return Failed(told)
    wishes = [wish for cause in causes if is_a(cause, StepFailure) and (wish := _wished(cause)) is not None]
    return Retried(told, max(wishes) if wishes else retry.delay_after(attempt, draw))


def causes_of(error: BaseException) -> list[BaseException]:
    """Return the exceptions in a group, such as ``asyncio.TaskGroup`` raises; of any other exception itself."""
    found: dict[int, BaseException] = {}
    todo = [error]
    while todo:
        one = todo.pop()
        if id(one) in found:
            continue
        found[id(one)] = one
        if is_group(one):
            # Asked of Python and not of the group, whose class may be the user's own.
            todo.extend(reversed(_GROUP.exceptions.__get__(one)))
    return [one for one in found.values() if not is_group(one)]


def is_group(error: BaseException) -> bool:
    """Whether an exception holds others."""
    return _GROUP is not None and is_a(error, _GROUP)


def _is_worth_another(error: BaseException, retry: Retry) -> bool:
    again = is_a(error, AttemptTimeout, WorkerLost, Retryable) or retry.lists(error)
    return again and not is_a(error, Permanent)


def is_a(error: BaseException, *types: type) -> bool:
    """Whether an exception is of one of these types, by what it is and not by what it says of its class."""
    return issubclass(type(error), types)


def _wished(error: Any) -> Micros | None:
    """Return the delay that an exception asks for; None where it says none, or what none can be told from."""
    try:
        wished = in_seconds(error.retry_after)
        return micros(max(wished, 0)) if -LONGEST_WISH < wished < LONGEST_WISH else None
    except BaseException:  # a user's class may have made anything of it, a property that raises among them
        return None


def is_given_up(error: StepError, attempt: int, max_attempts: int) -> bool:
    """Whether a step has attempts left that are not made, for its exception is none that is retried."""
    return error.code == EXECUTOR_ERROR and not error.retryable and attempt < max_attempts


def step_error(error: BaseException, now: Micros) -> StepError:
    """Describe an exception for the store, a group by its first one; never fails, whatever the exception is."""
    first, *more = causes_of(error)
    rest = f" (and {len(more)} more)" if more else ""
    hidden = f"<{type(first).__name__}: its text cannot be shown>"
    return StepError(
        code=_code(first),
        message=safe_text(lambda: _message(first), limit=TEXT_LIMIT - len(rest), fallback=hidden) + rest,
        details=_details(first),
        traceback=safe_text(lambda: _traceback(error), limit=TRACEBACK_LIMIT, fallback=""),
        occurred_at=now,
    )


def _code(error: Any) -> str:
    if is_a(error, StepFailure):
        return safe_text(lambda: error.code, limit=200, fallback=EXECUTOR_ERROR)
    if is_a(error, AttemptTimeout):
        return TIMEOUT
    return WORKER_LOST if is_a(error, WorkerLost) else EXECUTOR_ERROR


def _message(error: Any) -> str:
    if is_a(error, StepFailure):
        return str(error.message)
    text = str(error)
    if is_a(error, AttemptTimeout, WorkerLost):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _traceback(error: BaseException) -> str:
    return "".join(traceback_module.format_exception(type(error), error, error.__traceback__))


def _details(error: BaseException) -> Any:
    try:
        details = getattr(error, "details", None) if is_a(error, StepFailure) else None
        if not isinstance(details, Mapping):
            return None
        return _bounded({_told(name): _plain(value) for name, value in details.items()})
    except BaseException:  # a user's mapping may raise anything at all, as its __str__ may
        return None


def _bounded(details: dict[str, Any]) -> dict[str, Any]:
    try:
        dumps(details, "details", TEXT_LIMIT)
    except InvalidInput:
        return {"truncated": safe_text(lambda: repr(details), limit=TEXT_LIMIT // 4, fallback="")}
    return details


def _plain(value: Any) -> Any:
    try:
        check(value, "details")
    except InvalidInput:
        return _told(value)
    return value


def _told(value: Any) -> str:
    kind = type(value).__name__
    return safe_text(lambda: value if isinstance(value, str) else repr(value), limit=1024, fallback=f"<{kind}>")


def safe_text(make: Any, *, limit: int = TEXT_LIMIT, fallback: str) -> str:
    """Call *make* and return its text in a form that any store takes, cut to *limit* bytes; never raises."""
    try:
        made = make()
        # What an Enum of str says of itself is its name.
        text = str.__str__(made) if isinstance(made, str) else str(made)
    except BaseException:  # a user's __str__ may raise anything at all, SystemExit included
        text = fallback
    data = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace")
    if len(data) > limit:
        data = data[: limit - 20] + b"... [truncated]"
    return data.decode("utf-8", "ignore")
