"""What a function's parameters ask for, read from its signature, and refused where flowkit cannot give it."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any

import attrs

from flowkit.errors import ExecutorSignatureError
from flowkit.model.definitions import ANY, ResultParameter, Signature

STEP_OPTIONS = ("queue", "retry", "timeout", "priority", "delay", "after", "dedup_key", "metadata", "allow_failure")
"""The options of ``run.step`` and ``run.map``, by the names they are given."""

RESERVED = frozenset({"id", "executor", "input", "key", *STEP_OPTIONS})
"""What no result parameter may be called: a keyword of that name would mean something else where a step is declared."""


@attrs.frozen
class Role:
    """What kind of function is read.

    Attributes:
        noun: what messages call it.
        marker: an attribute that is true on the class which annotates the context parameter.
        class_name: the name of that class, for annotations that cannot be resolved yet.
        parameter: the name that makes the first parameter the context, whatever its annotation.
        takes_results: it may have keyword-only parameters to which results are bound.
    """

    noun: str
    marker: str
    class_name: str
    parameter: str
    takes_results: bool


EXECUTOR = Role("executor", "__flowkit_context__", "StepContext", "step", takes_results=True)
ENTRYPOINT = Role("entrypoint", "__flowkit_run__", "RunBuilder", "run", takes_results=False)


class _UnresolvedName(Exception):
    """An annotation names something that does not exist yet."""


def place_of(function: Callable[..., Any]) -> str:
    """Return ``file:line`` of a function, the line being that of its first decorator."""
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def signature_reader(
    function: Callable[..., Any], role: Role, scope: Mapping[str, Any] | None = None
) -> Callable[[], Signature]:
    """Check what can be checked now, and return a memoised function that gives the whole signature.

    Annotations are resolved at once where that is possible, with the names in *scope* (of the function that the
    definition stands in) before the module's; where it names something defined later, at the first call that succeeds.

    Raises:
        ExecutorSignatureError: now, or from the returned function; it names file and line.
    """
    _refuse_unusable(function, role)
    reader = _Reader(function, role, dict(scope or {}))
    reader.try_now()
    return reader


class _Reader:
    def __init__(self, function: Callable[..., Any], role: Role, scope: dict[str, Any]) -> None:
        self._function, self._role, self._scope = function, role, scope
        self._signature: Signature | None = None

    def try_now(self) -> None:
        try:
            self._signature = _read(self._function, self._role, self._scope)
        except _UnresolvedName:
            return
        # Kept until the names resolve, and no longer: it may hold anything the enclosing function does.
        self._scope = {}

    def __call__(self) -> Signature:
        if self._signature is None:
            try:
                self._signature = _read(self._function, self._role, self._scope)
            except _UnresolvedName as error:
                raise _refusal(self._function, self._role, str(error)) from error.__cause__
            self._scope = {}
        return self._signature


def unfit(given: Any, noun: str) -> str:
    """Say of what is no function that it cannot be an executor or entrypoint."""
    return f"{given!r} cannot be an {noun}: expected a function; write a def that calls it"


def _refusal(function: Callable[..., Any], role: Role, reason: str) -> ExecutorSignatureError:
    name = getattr(function, "__qualname__", repr(function))
    return ExecutorSignatureError(f"{place_of(function)}: {role.noun} {name}: {reason}")


def _refuse_unusable(function: Callable[..., Any], role: Role) -> None:
    is_function = callable(function) and hasattr(inspect.unwrap(function), "__code__")
    if isinstance(function, type) or not is_function:
        raise ExecutorSignatureError(unfit(function, role.noun))
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise _refusal(function, role, "a generator cannot be run as one; return a list instead of yielding")
    if role is ENTRYPOINT and inspect.iscoroutinefunction(inner):
        raise _refusal(function, role, "it only describes steps, so it must be a plain def, not async def")
    positional, results = _split(function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise _refusal(function, role, f"{stars}{parameter.name} cannot be filled; name each parameter")
    if len(positional) > 2:
        extra = ", ".join(parameter.name for parameter in positional[2:])
        raise _refusal(function, role, f"at most the context and one input are positional; {_rest(role, extra)}")
    _refuse_results(function, role, results)


def _rest(role: Role, extra: str) -> str:
    return f"make {extra} keyword-only (after *)" if role.takes_results else f"{extra} cannot be filled"


def _refuse_results(function: Callable[..., Any], role: Role, results: Iterable[inspect.Parameter]) -> None:
    for parameter in results:
        if not role.takes_results and parameter.default is parameter.empty:
            raise _refusal(function, role, f"nothing is ever bound to the keyword-only parameter {parameter.name!r}")
        if role.takes_results and parameter.name in RESERVED:
            raise _refusal(
                function, role, f"a result parameter cannot be named {parameter.name!r}, which run.step has taken"
            )


def _split(function: Callable[..., Any]) -> tuple[list[inspect.Parameter], list[inspect.Parameter]]:
    parameters = list(inspect.signature(function).parameters.values())
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return positional, [one for one in parameters if one.kind is one.KEYWORD_ONLY]


def _read(function: Callable[..., Any], role: Role, scope: Mapping[str, Any]) -> Signature:
    positional, keyword_only = _split(function)
    takes_context = bool(positional) and _is_context(function, role, positional[0], scope)
    inputs = positional[1:] if takes_context else positional
    if len(inputs) > 1:
        raise _refusal(
            function,
            role,
            f"two inputs, {inputs[0].name!r} and {inputs[1].name!r}: annotate the first parameter {role.class_name}, "
            f"name it {role.parameter!r}, or make what comes from other steps keyword-only (after *)",
        )
    source = inputs[0] if inputs else None
    results = {
        one.name: ResultParameter(one.name, _resolved(function, role, one.annotation, scope), one.default is one.empty)
        for one in (keyword_only if role.takes_results else ())
    }
    return Signature(
        takes_context=takes_context,
        takes_input=source is not None,
        input_name=source.name if source else None,
        input_type=_resolved(function, role, source.annotation, scope) if source else ANY,
        input_required=source is not None and source.default is source.empty,
        results=MappingProxyType(results),
        returns=_resolved(function, role, inspect.signature(function).return_annotation, scope),
    )


def _is_context(function: Callable[..., Any], role: Role, first: inspect.Parameter, scope: Mapping[str, Any]) -> bool:
    if first.name == role.parameter:
        return True
    if isinstance(first.annotation, str) and first.annotation.strip("'\"").split(".")[-1] == role.class_name:
        # Often imported for type checkers alone, so it may never resolve.
        return True
    annotation = _resolved(function, role, first.annotation, scope)
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return bool(getattr(annotation, role.marker, False))


def _resolved(function: Callable[..., Any], role: Role, annotation: Any, scope: Mapping[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return ANY
    names = inspect.unwrap(function).__globals__
    # Resolved one by one, on an object that is no function: so a parameter that cannot be resolved hides no other,
    # and a default of None does not turn X into Optional[X], as Python 3.10 would have it.
    one = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(one, names, dict(scope) or names, include_extras=True)["it"]
    except (NameError, AttributeError) as error:
        raise _UnresolvedName(f"annotation {annotation!r} cannot be resolved: {error}") from error
    except Exception as error:
        raise _refusal(function, role, f"annotation {annotation!r} cannot be resolved: {error}") from error
