"""What a type checker knows of ``start_run``: the entrypoint says what input fits and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast, overload

from flowkit.dsl.handles import StepHandle
from flowkit.runtime.handle import RunHandle

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
C_co = TypeVar("C_co", covariant=True)

Metadata = Mapping[str, Any]
Plain = Mapping[str, Any]
"""A dict stands for an attrs class or dataclass wherever an input is given."""


class StartCall(Protocol):
    """``start_run`` and ``run``: one run of a package, given by its function or its name."""

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], StepHandle[R]],
        input: I | Plain | None = None,
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> RunHandle[R]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], Sequence[StepHandle[R]]],
        input: I | Plain | None = None,
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> RunHandle[list[R]]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], None],
        input: I | Plain | None = None,
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> RunHandle[Any]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any], StepHandle[R]],
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> RunHandle[R]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any], Sequence[StepHandle[R]]],
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> RunHandle[list[R]]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any], None],
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> RunHandle[Any]: ...

    @overload
    def __call__(
        self,
        package: str,
        input: Any = None,
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> RunHandle[Any]: ...


class StartManyCall(Protocol):
    """``start_runs``: one run for each input."""

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], StepHandle[R]],
        inputs: Iterable[I | Plain],
        *,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> list[RunHandle[R]]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], Sequence[StepHandle[R]]],
        inputs: Iterable[I | Plain],
        *,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> list[RunHandle[list[R]]]: ...

    @overload
    def __call__(
        self,
        package: Callable[[Any, I], None],
        inputs: Iterable[I | Plain],
        *,
        name: str | None = None,
        metadata: Metadata | None = None,
    ) -> list[RunHandle[Any]]: ...

    @overload
    def __call__(
        self, package: str, inputs: Iterable[Any], *, name: str | None = None, metadata: Metadata | None = None
    ) -> list[RunHandle[Any]]: ...


class Method(Protocol[C_co]):
    """A method that a type checker knows by how it is called on an object."""

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Callable[..., Any]: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> C_co: ...


def starts_one(method: Callable[..., Any]) -> Method[StartCall]:
    """Return *method* as it is; to a type checker it has the overloads of ``StartCall``."""
    return cast("Method[StartCall]", method)


def starts_many(method: Callable[..., Any]) -> Method[StartManyCall]:
    """Return *method* as it is; to a type checker it has the overloads of ``StartManyCall``."""
    return cast("Method[StartManyCall]", method)
