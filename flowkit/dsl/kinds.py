"""Which executor a declared step means: from a marked function or a kind, among those registered here or elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import attrs

from flowkit.dsl.decorators import definitions_of
from flowkit.errors import GraphError, nearest
from flowkit.model.definitions import ANY, ExecutorDef, ResultParameter, Signature
from flowkit.model.names import name_problem
from flowkit.model.struct import struct


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()
"""No value was given."""


@attrs.frozen
class RemoteKind:
    """A kind that some other worker recorded in the store's catalog.

    Attributes:
        results: its result parameters, each with whether it must be bound.
        takes_input: it has an input.
        input_required: the input has no default.
    """

    kind: str
    results: Mapping[str, bool]
    takes_input: bool
    input_required: bool


class Registry(Protocol):
    """What builders ask of whoever knows the executors."""

    def find_executor(self, kind: str) -> ExecutorDef | None:
        """Return the executor that is registered here for this kind."""
        ...

    def find_remote(self, kind: str) -> RemoteKind | None:
        """Return what the store's catalog knows of a kind that is not registered here."""
        ...

    def known_kinds(self) -> Iterable[str]:
        """Return every kind that one of the two would find."""
        ...


@struct(eq=False)
class Kind:
    """A kind as a declaration sees it.

    Attributes:
        definition: the executor, where its code is at hand.
        input_type: the annotation of its input, ``ANY`` where none is known.
        default: the default of its input, ``MISSING`` where it has none or none is known.
        required: its result parameters, each with whether it must be bound.
        parameters: the same with their annotations, where its code is at hand.
        returns: the annotation of its result, ``ANY`` where none is known.
    """

    name: str
    definition: ExecutorDef | None
    takes_input: bool
    input_required: bool
    input_type: Any
    default: Any
    required: Mapping[str, bool]
    parameters: Mapping[str, ResultParameter]
    returns: Any


class KindBook:
    """Looks kinds up, each once per builder."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._found: dict[Any, Kind] = {}

    def find(self, executor: Any, owner: str) -> Kind:
        """Return the kind that *executor*, a marked function or a kind's name, stands for.

        Raises:
            GraphError: it is neither, or nobody runs that kind; names *owner* and the nearest kind.
        """
        try:
            found = self._found.get(executor)
        except TypeError:
            found = None
        if found is None:
            found = self._by_name(executor, owner) if isinstance(executor, str) else self._by_function(executor, owner)
            self._found[executor] = found
        return found

    def _by_name(self, kind: str, owner: str) -> Kind:
        if not kind.strip():
            raise GraphError("workflow step kind is required")
        problem = name_problem(kind, spaces=False)
        if problem:
            raise GraphError(f"{owner}: kind: {problem}")
        definition = self._registry.find_executor(kind)
        if definition is not None:
            return _local(definition)
        remote = self._registry.find_remote(kind)
        if remote is not None:
            return _remote(remote)
        near = nearest(kind, self._registry.known_kinds())
        raise GraphError(f"{owner}: no worker has an executor for kind {kind!r}{near or '; is its module discovered?'}")

    def _by_function(self, function: Any, owner: str) -> Kind:
        definition = function if isinstance(function, ExecutorDef) else _only_mark(function, owner)
        kind, registered = definition.kind, self._registry.find_executor(definition.kind)
        if registered is None and self._registry.find_remote(kind) is None:
            raise GraphError(
                f"{owner}: kind {kind!r} of {definition.place} is not registered; "
                f"add its module to Runtime(modules=[...])"
            )
        if registered is not None and _code_name(registered) != _code_name(definition):
            raise GraphError(
                f"{owner}: kind {kind!r} is registered for {registered.place}, and {definition.place} was given"
            )
        return _local(registered or definition)


def _code_name(definition: ExecutorDef) -> tuple[str, str]:
    return definition.module, definition.qualname


def _only_mark(function: Any, owner: str) -> ExecutorDef:
    marks = [one for one in definitions_of(function) if isinstance(one, ExecutorDef)]
    if len(marks) == 1:
        return marks[0]
    if marks:
        kinds = ", ".join(repr(one.kind) for one in marks)
        raise GraphError(f"{owner}: {marks[0].qualname} runs several kinds ({kinds}); give the kind as a str")
    name = getattr(function, "__qualname__", repr(function))
    what = "decorate it with @executor" if callable(function) else "give an executor or its kind as a str"
    raise GraphError(f"{owner}: {name} is no executor; {what}")


def _local(definition: ExecutorDef) -> Kind:
    signature = definition.signature()
    return Kind(
        name=definition.kind,
        definition=definition,
        takes_input=signature.takes_input,
        input_required=signature.input_required,
        input_type=signature.input_type,
        default=_default(definition, signature),
        required={name: parameter.required for name, parameter in signature.results.items()},
        parameters=signature.results,
        returns=signature.returns,
    )


def _default(definition: ExecutorDef, signature: Signature) -> Any:
    input_name = signature.input_name
    if input_name is None or signature.input_required:
        return MISSING
    default = inspect.signature(definition.function).parameters[input_name].default
    return MISSING if default is inspect.Parameter.empty else default


def _remote(remote: RemoteKind) -> Kind:
    return Kind(
        name=remote.kind,
        definition=None,
        takes_input=remote.takes_input,
        input_required=remote.input_required,
        input_type=ANY,
        default=MISSING,
        required=dict(remote.results),
        parameters={},
        returns=ANY,
    )
