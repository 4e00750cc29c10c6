"""Stubs: an executor is replaced by one that only answers, and remembers what it was asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import attrs

from flowkit.errors import ExecutorNotRegistered, InvalidInput
from flowkit.model.definitions import MARK, ExecutorDef

Raised = BaseException | Sequence[BaseException]


@attrs.frozen
class StubCall:
    """One call of a stub.

    Attributes:
        step: the step context.
        input: the step's input as the executor would have got it, None where it takes none.
        results: the upstream results bound to it, by parameter.
    """

    step: Any = attrs.field(repr=False)
    input: Any
    results: Mapping[str, Any]


@attrs.define(eq=False)
class Stub:
    """Stands in for the executor of one kind; ``calls`` tells how it was called, in order."""

    kind: str
    calls: list[StubCall] = attrs.field(factory=list)

    @property
    def inputs(self) -> list[Any]:
        """The inputs of the calls, in order."""
        return [call.input for call in self.calls]


class Stubs:
    """Replaces executors of one Runtime: ``stub("shop/charge", returns="receipt")``."""

    def __init__(self, runtime: Any) -> None:
        self._registry = runtime._parts.registry
        self._before = dict(self._registry.executors)

    def __call__(
        self,
        executor: Callable[..., Any] | str,
        *,
        returns: Any = None,
        raises: Raised = (),
        does: Callable[..., Any] | None = None,
    ) -> Stub:
        """Let a stub run a kind from now on; what the step was declared with stays: queue, retries, timeout.

        The stub runs in a thread, also where the executor runs on the event loop or in a process.

        Args:
            executor: the executor's function, or its kind.
            returns: the step's result; it must fit the executor's annotation, as the executor's own must.
            raises: an exception that each call raises; of several, each call raises the next one, and when none is
                left it returns.
            does: called instead, with what the executor would be called with; where it is async, on the event loop.

        Raises:
            ExecutorNotRegistered: the Runtime has no executor of that kind.
            TypeError: both *returns* and *does* are given.
            InvalidInput: *returns* does not fit the executor's annotation.
        """
        if does is not None and returns is not None:
            raise TypeError("stub: give either returns= or does=, not both")
        definition = self._find(executor)
        stub, takes = Stub(definition.kind), definition.signature()
        left = [raises] if isinstance(raises, BaseException) else list(raises)

        @wraps(definition.function)
        def stand_in(step: Any, *inputs: Any, **results: Any) -> Any:
            stub.calls.append(StubCall(step, inputs[0] if inputs else None, results))
            if left:
                error = left[0] if isinstance(raises, BaseException) else left.pop(0)
                # Of the calls before this one nothing is told again.
                raise error.with_traceback(None)
            return returns if does is None else does(*((step,) if takes.takes_context else ()), *inputs, **results)

        signature, awaited = attrs.evolve(takes, takes_context=True), inspect.iscoroutinefunction(does)
        replaced = attrs.evolve(definition, function=stand_in, signature=lambda: signature, pool=None, is_async=awaited)
        if returns is not None:
            self._refuse_misfit(replaced, returns)
        self._registry.replace(replaced)
        return stub

    def _refuse_misfit(self, definition: ExecutorDef, returns: Any) -> None:
        try:
            self._registry.check_result(definition, returns)
        except InvalidInput as error:
            raise InvalidInput(f"stub of {definition.kind!r}: returns: {error}") from None

    def _find(self, executor: Callable[..., Any] | str) -> ExecutorDef:
        # A stub may be replaced by another one, which goes by the executor's own signature.
        known: Mapping[str, ExecutorDef] = {**self._registry.executors, **self._before}
        kinds = (
            [executor]
            if isinstance(executor, str)
            else [one.kind for one in getattr(executor, MARK, ()) if isinstance(one, ExecutorDef)]
        )
        for kind in kinds:
            if kind in known:
                return known[kind]
        raise ExecutorNotRegistered(str(kinds[0] if kinds else executor), tuple(known))
