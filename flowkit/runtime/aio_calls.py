"""What a type checker knows of ``rt.aio.start_run``: the same as of ``start_run``, awaited."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol, TypeVar, cast, overload

from flowkit.dsl.handles import StepHandle
from flowkit.runtime.aio_handle import AsyncRunHandle
from flowkit.runtime.calls import Metadata, Method, Plain

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
T = TypeVar("T")

Soon = Coroutine[Any, Any, T]
"""What is awaited."""


class AsyncStartCall(Protocol):
    """``rt.aio.start_run`` and ``rt.aio.run``: one run of a package, given by its function or its name."""

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], StepHandle[R]],
        input: I | Plain | None = None,
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> Soon[AsyncRunHandle[R]]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], Sequence[StepHandle[R]]],
        input: I | Plain | None = None,
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> Soon[AsyncRunHandle[list[R]]]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], None],
        input: I | Plain | None = None,
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> Soon[AsyncRunHandle[Any]]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any], StepHandle[R]],
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> Soon[AsyncRunHandle[R]]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any], Sequence[StepHandle[R]]],
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> Soon[AsyncRunHandle[list[R]]]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any], None],
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> Soon[AsyncRunHandle[Any]]: ...

    @overload
    def __call__(
        self,
        package: str,
        input: Any = None,
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> Soon[AsyncRunHandle[Any]]: ...


class AsyncStartManyCall(Protocol):
    """``rt.aio.start_runs``: one run for each input."""

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], StepHandle[R]],
        inputs: Iterable[I | Plain],
        *,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> Soon[list[AsyncRunHandle[R]]]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], Sequence[StepHandle[R]]],
        inputs: Iterable[I | Plain],
        *,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> Soon[list[AsyncRunHandle[list[R]]]]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], None],
        inputs: Iterable[I | Plain],
        *,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> Soon[list[AsyncRunHandle[Any]]]: ...

    @overload
    def __call__(
        self, package: str, inputs: Iterable[Any], *, name: str | None = None, metadata: Metadata | None = None
    ) -> Soon[list[AsyncRunHandle[Any]]]: ...


def starts_one_soon(method: Callable[..., Any]) -> Method[AsyncStartCall]:
    """Return *method* as it is; to a type checker it has the overloads of ``AsyncStartCall``."""
    return cast("Method[AsyncStartCall]", method)


def starts_many_soon(method: Callable[..., Any]) -> Method[AsyncStartManyCall]:
    """Return *method* as it is; to a type checker it has the overloads of ``AsyncStartManyCall``."""
    return cast("Method[AsyncStartManyCall]", method)
