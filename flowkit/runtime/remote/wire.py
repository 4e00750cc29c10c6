"""What crosses to an attempt in another process and back, as JSON: nothing of the user's is pickled."""

from __future__ import annotations

import base64
import json
from typing import Any, TypeVar, Union

import attrs
import cattrs
from cattrs.strategies import configure_tagged_union, configure_union_passthrough

from flowkit.clock import Micros
from flowkit.dsl.kinds import RemoteKind
from flowkit.errors import (
    DataCorrupted,
    FlowkitError,
    ResultNotFound,
    RunNotFound,
    RuntimeClosed,
    StepNotFound,
    StoreBusy,
    StoreFull,
    StoreUnavailable,
)
from flowkit.model.outcome import Outcome, StepError
from flowkit.model.outputs import Progress
from flowkit.model.plan import Span
from flowkit.model.step import LeasedStep
from flowkit.store.closing import error_from_text, error_to_text

T = TypeVar("T")

_LOOKUPS = (DataCorrupted, ResultNotFound, RunNotFound, RuntimeClosed, StepNotFound)
_ERRORS: tuple[type[FlowkitError], ...] = (*_LOOKUPS, StoreBusy, StoreFull, StoreUnavailable)
"""What a read of the store may raise; anything else means that it cannot be read now."""


NOTHING = b"null"
"""What ``pack`` makes of None."""


@attrs.frozen
class Place:
    """Where a store of artifacts or projections can be opened; without a URL, why it cannot."""

    url: str | None
    refusal: str = ""


@attrs.frozen
class KnownKind:
    """A kind that steps may be emitted of: where its code is, if that can be named, and what it takes."""

    remote: RemoteKind
    module: str | None = None
    qualname: str | None = None


@attrs.frozen
class Task:
    """All that an attempt in another process starts with.

    Attributes:
        module, qualname: where the executor is found.
        leased: the step, the lease and the bound results.
        now: the engine's time when the task was made.
        artifacts, projections: where the Runtime's stores are.
        kinds: what may be emitted, where the task cannot ask while it runs.
        trace: the trace context of the attempt, where it is traced.
    """

    module: str
    qualname: str
    leased: LeasedStep
    now: Micros
    artifacts: Place
    projections: Place
    kinds: tuple[KnownKind, ...] = ()
    trace: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Report:
    """How an attempt in another process ended."""

    outcome: Outcome
    progress: Progress | None = None


@attrs.frozen
class Message:
    """What a task sends or asks while it runs.

    Attributes:
        word: ``begin``, ``progress``, ``run``, ``step``, ``result``, ``kind`` or ``kinds``.
        names: the ids or kinds that it is about.
    """

    word: str
    names: tuple[str, ...] = ()
    progress: Progress | None = None


@attrs.frozen
class Answer:
    """What a question is answered: a value as its own JSON, or the error to raise."""

    body: bytes = NOTHING
    error: str | None = None
    arguments: tuple[Any, ...] = ()


def _converter() -> cattrs.Converter:
    made = cattrs.Converter()
    made.register_unstructure_hook(bytes, lambda body: base64.b64encode(body).decode())
    made.register_structure_hook(bytes, lambda text, _: base64.b64decode(text))
    made.register_unstructure_hook(StepError, error_to_text)
    made.register_structure_hook(StepError, lambda text, _: error_from_text(text))
    # What a step reports is kept as it said it, were it an int.
    made.register_structure_hook(Progress, lambda told, _: Progress(**told))
    made.register_structure_hook(Span, lambda span, _: span if isinstance(span, str) else (span[0], span[1]))
    configure_union_passthrough(Union[str, int, float, bool, None], made)
    configure_tagged_union(Outcome, made)
    return made


_CONVERTER = _converter()


def pack(value: Any) -> bytes:
    """Write a value as JSON.

    Raises:
        TypeError, ValueError: something in it is no JSON.
    """
    return json.dumps(_CONVERTER.unstructure(value), allow_nan=False, separators=(",", ":")).encode()


def unpack(body: bytes, kind: type[T]) -> T:
    """Read back what ``pack`` wrote."""
    return _CONVERTER.structure(json.loads(body), kind)


def refused(error: Exception) -> Answer:
    """Return the answer that makes the asker raise *error*."""
    known: Any = error if type(error) in _ERRORS else StoreUnavailable(f"{type(error).__name__}: {error}")
    arguments = attrs.astuple(known) if attrs.has(type(known)) else tuple(str(one) for one in known.args)
    return Answer(error=type(known).__name__, arguments=arguments)


def answered(answer: Answer) -> bytes:
    """Return the body of an answer.

    Raises:
        FlowkitError: the answer is an error.
    """
    if answer.error is None:
        return answer.body
    arguments = [tuple(one) if isinstance(one, list) else one for one in answer.arguments]
    known: dict[str, Any] = {error.__name__: error for error in _ERRORS}
    raise known[answer.error](*arguments)
