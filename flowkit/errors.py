"""Every error flowkit raises on purpose: named for what happened, carrying its fields, saying what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import attrs

DISTRIBUTION = "flowkit-durable"
LONGEST_WISH = 10**9


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which of *known* looks most like *name*, as the tail of an error message (empty when nothing does)."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


class FlowkitError(Exception):
    """Base of every error that flowkit raises; ``StepFailure`` is what executors raise and is not one of them."""


class ConfigError(FlowkitError):
    """A Runtime, store or policy was given a value out of range; the message names the field."""


@attrs.define(auto_exc=True, str=False, slots=False)
class DiscoveryError(FlowkitError):
    """A ``module`` named for discovery could not be imported or scanned, for a ``reason``; ``__cause__`` keeps it."""

    module: str
    reason: str

    def __str__(self) -> str:
        return f"cannot discover {self.module!r}: {self.reason}"


class ExecutorSignatureError(FlowkitError):
    """An executor's or entrypoint's signature asks for something flowkit cannot give; names file and line."""


@attrs.define(auto_exc=True, str=False, slots=False)
class DuplicateExecutor(FlowkitError):
    """Two different functions claim one ``kind``; ``first`` and ``second`` say where they are."""

    kind: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"executor kind {self.kind!r} is declared twice: {self.first} and {self.second}; rename one of them"


@attrs.define(auto_exc=True, str=False, slots=False)
class DuplicatePackage(FlowkitError):
    """Two different entrypoints claim one package ``name``; ``first`` and ``second`` say where they are."""

    name: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"workflow package {self.name!r} is declared twice: {self.first} and {self.second}; rename one of them"


@attrs.define(auto_exc=True, str=False, slots=False)
class PackageNotRegistered(FlowkitError):
    """No entrypoint is registered here under this ``name``; ``known`` are those that are; ``hint`` says what to do."""

    name: str
    known: tuple[str, ...] = ()
    hint: str = ""

    def __str__(self) -> str:
        hint = self.hint or "is its module in Runtime(modules=[...])?"
        return f"workflow package {self.name!r} is not registered{nearest(self.name, self.known)}; {hint}"


@attrs.define(auto_exc=True, str=False, slots=False)
class ExecutorNotRegistered(FlowkitError):
    """No executor is registered here for this ``kind`` of step; ``known`` are the kinds that are."""

    kind: str
    known: tuple[str, ...] = ()

    def __str__(self) -> str:
        near = nearest(self.kind, self.known)
        return f"no executor for kind {self.kind!r} is registered{near}; is its module in Runtime(modules=[...])?"


class GraphError(FlowkitError):
    """What an entrypoint or an executor declared is no graph that could run; nothing was stored."""


class InvalidInput(FlowkitError):
    """A value does not fit its annotation, or JSON; the message names each path and what was expected."""


class LimitExceeded(FlowkitError):
    """A documented size limit was passed; the message names the limit and the value."""


@attrs.define(auto_exc=True, str=False, slots=False)
class RunConflict(FlowkitError):
    """A run with this ``run_id`` is there already; ``reason`` says what differs; nothing was changed."""

    run_id: str
    reason: str

    def __str__(self) -> str:
        return f"run {self.run_id!r} exists already with {self.reason}; choose another run_id, or leave it out"


@attrs.define(auto_exc=True, str=False, slots=False)
class RunNotFound(FlowkitError):
    """No run has this ``run_id`` in the store."""

    run_id: str

    def __str__(self) -> str:
        return f"run {self.run_id!r} is not in the store; rt.runs() lists those that are"


@attrs.define(auto_exc=True, str=False, slots=False)
class StepNotFound(FlowkitError):
    """The run ``run_id`` is there, but has no step ``step_id``; ``known`` are some that it has.

    ``is_output`` says that its entrypoint named that step, whose result was to be the run's.
    """

    run_id: str
    step_id: str
    known: tuple[str, ...] = ()
    is_output: bool = False

    def __str__(self) -> str:
        near = nearest(self.step_id, self.known)
        why = ", which its entrypoint named as the run's output" if self.is_output else ""
        return f"run {self.run_id!r} has no step {self.step_id!r}{why}{near}; rt.steps({self.run_id!r}) lists them"


class ResultNotFound(FlowkitError):
    """The run or step has no such result, record, artifact or output; the message says what would give one."""


@attrs.define(auto_exc=True, str=False, slots=False)
class InvalidTransition(FlowkitError):
    """A command does not apply in the present ``status``, as the ``message`` says; nothing was changed."""

    message: str
    status: str | None = None

    def __str__(self) -> str:
        return self.message


@attrs.define(auto_exc=True, str=False, slots=False)
class LeaseLost(FlowkitError):
    """This attempt owns its step (``run_id``, ``step_id``) no longer; what it still delivers is discarded."""

    run_id: str
    step_id: str

    def __str__(self) -> str:
        return f"the lease on step {self.step_id!r} of run {self.run_id!r} is lost; its effects are discarded"


@attrs.define(auto_exc=True, str=False, slots=False)
class RunFailed(FlowkitError):
    """The run ``run_id`` ended failed; ``errors`` maps each failed step to its ``StepError``."""

    run_id: str
    errors: Mapping[str, Any]

    def __str__(self) -> str:
        told = "; ".join(f"{step}: {error.code}: {error.message}" for step, error in list(self.errors.items())[:5])
        more = f" (and {len(self.errors) - 5} more)" if len(self.errors) > 5 else ""
        return f"run {self.run_id!r} failed: {told or 'no step error is stored'}{more}"


@attrs.define(auto_exc=True, str=False, slots=False)
class RunCanceled(FlowkitError):
    """The run ``run_id`` ended canceled, so it has no result; ``rt.retry_run`` would make it run again."""

    run_id: str

    def __str__(self) -> str:
        return f"run {self.run_id!r} was canceled; rt.retry_run({self.run_id!r}) makes it run again"


class WaitTimeout(FlowkitError, TimeoutError):
    """The wait's time is over; what was waited for goes on undisturbed."""


class RuntimeClosed(FlowkitError):
    """The Runtime was closed; make a new one."""


@attrs.define(auto_exc=True, str=False, slots=False)
class MissingExtra(FlowkitError):
    """A ``feature`` needs an ``extra`` that is not installed; ``without`` says what works all the same."""

    feature: str
    extra: str
    without: str = ""

    def __str__(self) -> str:
        name = f"{DISTRIBUTION}[{self.extra}]"
        install = f"install it with pip install '{name}' (from a checkout: pip install '.[{self.extra}]')"
        return f"{self.feature} needs the extra {name}: {install}. {self.without}".rstrip()


class StoreError(FlowkitError):
    """The store could not do what was asked; what was acknowledged before is safe."""


class StoreFull(StoreError):
    """No space is left for the store; work goes on by itself when there is some again."""


class StoreBusy(StoreError):
    """Another program kept the store locked for longer than the busy timeout, or workers are at one to be moved."""


class StoreUnavailable(StoreError):
    """The store cannot be opened, read or written just now."""


class SchemaTooNew(StoreError):
    """The store was written by a newer flowkit than this one; it was left untouched."""


class DataCorrupted(StoreError):
    """A stored payload does not match its checksum; nothing altered was handed out."""


class StepFailure(Exception):
    """What an executor raises on purpose; see ``Permanent`` and ``Retryable``.

    Args:
        code: a short word that programs can test for, not blank; stored with the attempt.
        message: for people: text, or an exception, which is then the cause; defaults to the code.
        details: a JSON object, stored with the attempt.
    """

    retryable = False

    def __init__(self, code: str, message: object = "", *, details: Mapping[str, Any] | None = None) -> None:
        if not isinstance(code, str) or not code.strip():
            raise ValueError(f"{type(self).__name__}: code: expected a non-blank str, got {code!r}")
        if details is not None and not isinstance(details, Mapping):
            raise ValueError(f"{type(self).__name__}: details: expected a dict, got {details!r}")
        self.code = str.__str__(code)  # what an Enum of str says of itself is its name
        try:
            text = str.__str__(message) if isinstance(message, str) else "" if message is None else str(message)
            self.message = text or self.code
        except Exception:  # what it means for the step is known all the same
            self.message = f"<{type(message).__name__}: its text cannot be shown>"
        self.details = dict(details) if details is not None else None
        if isinstance(message, BaseException):
            self.__cause__ = message
        super().__init__(self.code, self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return Exception.__new__, (type(self), *self.args), vars(self)  # a class of the program's is called otherwise

    def __str__(self) -> str:
        return self.message if self.message == self.code else f"{self.code}: {self.message}"


class Permanent(StepFailure):
    """The attempt failed and no further attempt would help: ``Permanent("empty_message", "message is required")``."""


class Retryable(StepFailure):
    """The attempt failed, another may succeed: retried while the step's ``Retry`` allows.

    Args:
        retry_after: seconds, or a timedelta, to wait before the next attempt; replaces the computed delay, and may be
            longer than its maximum. A moment that has passed already is now: less than 0 is 0.
    """

    retryable = True

    def __init__(
        self,
        code: str,
        message: object = "",
        *,
        details: Mapping[str, Any] | None = None,
        retry_after: float | timedelta | None = None,
    ) -> None:
        super().__init__(code, message, details=details)
        given = retry_after.total_seconds() if isinstance(retry_after, timedelta) else retry_after
        if given is not None and not (isinstance(given, (int, float)) and -LONGEST_WISH < given < LONGEST_WISH):
            raise ValueError(f"Retryable: retry_after: expected seconds below {LONGEST_WISH}, got {retry_after!r}")
        self.retry_after = max(given, 0) if given is not None else None
