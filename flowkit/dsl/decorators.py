"""The two decorators: they mark a function with what it is, and give the function itself back unchanged."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar, Union

from flowkit.dsl.options import checked_name, checked_priority, checked_queue, checked_retry, checked_timeout
from flowkit.errors import ConfigError, ExecutorSignatureError
from flowkit.model.definitions import MARK, ExecutorDef, PackageDef
from flowkit.model.retry import Retry
from flowkit.model.signature import ENTRYPOINT, EXECUTOR, place_of, signature_reader, unfit

F = TypeVar("F", bound=Callable[..., Any])
Definition = Union[ExecutorDef, PackageDef]


def executor(
    kind: str,
    *,
    queue: str | None = None,
    retry: Retry | None = None,
    timeout: float | timedelta | None = None,
    priority: int | None = None,
    pool: str | None = None,
) -> Callable[[F], F]:
    """Mark a function as the executor of one kind of step; the function itself is unchanged.

    Args:
        kind: the stable name that is stored with each step and says which code runs it; no spaces.
        queue: where its steps wait, unless the step says otherwise.
        retry: their retry policy, unless the step says otherwise.
        timeout: seconds, or a timedelta, that one attempt may take.
        priority: -1000 to 1000, smaller first.
        pool: None is a thread (``async def``: the event loop); ``"process"`` a process; else a name in Runtime(pools=).

    Raises:
        ConfigError: an option is out of range; names it.
        ExecutorSignatureError: raised when the function is marked: it asks for something flowkit cannot give.
    """
    owner = f"executor {kind!r}"
    options: dict[str, Any] = {
        "kind": checked_kind(kind),
        "queue": checked_queue(owner, queue),
        "retry": checked_retry(owner, retry),
        "timeout": checked_timeout(owner, timeout),
        "priority": checked_priority(owner, priority),
        "pool": None if pool is None else checked_name(owner, "pool", pool),
    }

    def mark(function: F) -> F:
        reader = signature_reader(function, EXECUTOR, _enclosing_names(sys._getframe(1)))
        is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
        definition = ExecutorDef(
            function=function, place=place_of(function), signature=reader, is_async=is_async, **options
        )
        return _marked(function, definition)

    return mark


def package(name: str, *, display_name: str | None = None, queue: str | None = None) -> Callable[[F], F]:
    """Mark an entrypoint: the function that describes a run's first steps; the function itself is unchanged.

    Args:
        name: what callers start; stored with each run.
        display_name: the name for people.
        queue: where its steps wait, unless their executor or the step says otherwise.

    Raises:
        ConfigError: an option is out of range; names it.
        ExecutorSignatureError: raised when the function is marked: it asks for something flowkit cannot give.
    """
    if callable(name):
        raise ConfigError('package: name: expected str, got a function; write @package("name")')
    owner = f"package {name!r}"
    options: dict[str, Any] = {
        "name": checked_name("package", "name", name),
        "display_name": None if display_name is None else checked_name(owner, "display_name", display_name),
        "queue": checked_queue(owner, queue),
    }

    def mark(function: F) -> F:
        reader = signature_reader(function, ENTRYPOINT, _enclosing_names(sys._getframe(1)))
        return _marked(function, PackageDef(entrypoint=function, place=place_of(function), signature=reader, **options))

    return mark


def definitions_of(function: Any) -> tuple[Definition, ...]:
    """Return what the decorators made of *function*, in the order they ran; empty for anything they did not mark."""
    try:
        marks = vars(function).get(MARK, ())
    except TypeError:
        return ()
    return tuple(marks) if isinstance(marks, tuple) else ()


def checked_kind(kind: Any) -> str:
    """Return *kind* if it may be one, or raise ``ConfigError``."""
    if isinstance(kind, str) and not kind.strip():
        raise ConfigError("workflow step kind is required")
    if callable(kind):
        raise ConfigError('executor: kind: expected str, got a function; write @executor("kind")')
    return checked_name("executor", "kind", kind, spaces=False)


def _marked(function: F, definition: Definition) -> F:
    try:
        setattr(function, MARK, (*definitions_of(function), definition))
    except AttributeError as error:  # a bound method
        noun = "executor" if isinstance(definition, ExecutorDef) else "entrypoint"
        raise ExecutorSignatureError(f"{definition.place}: {unfit(function, noun)}") from error
    return function


def _enclosing_names(frame: Any) -> Mapping[str, Any]:
    # Classes of the function that a definition stands in can be named in its annotations; a module's names are
    # looked up when they are needed, so that those which come later are found too.
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)
