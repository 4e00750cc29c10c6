"""What a decorator makes of a function: data plus a callable; they can be built by hand too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from flowkit.clock import Micros
from flowkit.model.retry import Retry

MARK = "__flowkit__"
"""The attribute under which a decorated function carries its definitions, a tuple."""


@attrs.frozen
class ResultParameter:
    """A keyword-only parameter, bound to an upstream step's result where the step is declared."""

    name: str
    annotation: Any
    required: bool


@attrs.frozen
class Signature:
    """What a function's parameters ask for, once its annotations are resolved.

    ``ANY`` stands for a missing annotation: the plain JSON value.

    Attributes:
        takes_context: it wants the ``StepContext`` (or ``RunBuilder``) first.
        takes_input: it wants the input next.
        input_name: the name of that parameter, for messages.
        input_type: its annotation.
        input_required: it has no default.
        results: the keyword-only parameters, by name.
        returns: the return annotation.
    """

    takes_context: bool
    takes_input: bool
    input_name: str | None
    input_type: Any
    input_required: bool
    results: Mapping[str, ResultParameter]
    returns: Any


class _Any:
    def __repr__(self) -> str:
        return "ANY"


ANY: Any = _Any()
"""No annotation."""


@attrs.frozen(eq=False)
class ExecutorDef:
    """An executor: the function that runs one kind of step.

    Attributes:
        kind: the stable name that says which code runs a step.
        function: the user's function, unchanged.
        place: ``file:line`` of the function.
        signature: reads and checks the parameters; annotations are resolved when it is called.
        queue, retry, timeout, priority, pool: options, None where not given.
    """

    kind: str
    function: Callable[..., Any]
    place: str
    signature: Callable[[], Signature]
    queue: str | None = None
    retry: Retry | None = None
    timeout: Micros | None = None
    priority: int | None = None
    pool: str | None = None
    is_async: bool = False

    @property
    def module(self) -> str:
        """The module the function was defined in."""
        return str(self.function.__module__)

    @property
    def qualname(self) -> str:
        """The function's qualified name in its module."""
        return str(self.function.__qualname__)


@attrs.frozen(eq=False)
class PackageDef:
    """A package: what a caller starts; its entrypoint describes a run's first steps."""

    name: str
    entrypoint: Callable[..., Any]
    place: str
    signature: Callable[[], Signature]
    display_name: str | None = None
    queue: str | None = None

    @property
    def module(self) -> str:
        """The module the entrypoint was defined in."""
        return str(self.entrypoint.__module__)

    @property
    def qualname(self) -> str:
        """The entrypoint's qualified name in its module."""
        return str(self.entrypoint.__qualname__)
