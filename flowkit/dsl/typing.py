"""What a type checker knows of ``run.step``, ``run.map`` and ``step.emit``: one overload for each shape of executor.

An executor takes context and input, input alone, or neither; the form that is ``async def`` stands before its plain
twin, for a plain one would take the coroutine for the result. Options are spelled out in each, so that every other
keyword is a binding.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Protocol, TypeVar, Union, overload

from typing_extensions import Concatenate  # noqa: UP035 - typing's own takes no ... before Python 3.11

from flowkit.dsl.handles import After, StepGroup, StepHandle, Target
from flowkit.model.retry import Retry

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")

Seconds = Union[float, timedelta]
"""A duration: a number of seconds, or a timedelta."""

Metadata = Mapping[str, Any]


class Context:
    """What executors take first; the class that implements it tells by its marker that it is one."""

    __slots__ = ()
    __flowkit_context__ = True


class StepCall(Protocol):
    """``run.step`` and ``step.emit``: declares one step and gives its handle."""

    @overload
    def __call__(
        self,
        id: str | None,
        executor: Callable[Concatenate[Any, I, ...], Awaitable[R]],
        input: I,
        /,
        *,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepHandle[R]: ...

    @overload
    def __call__(
        self,
        id: str | None,
        executor: Callable[Concatenate[Any, I, ...], R],
        input: I,
        /,
        *,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepHandle[R]: ...

    @overload
    def __call__(
        self,
        id: str | None,
        executor: Callable[Concatenate[I, ...], Awaitable[R]],
        input: I,
        /,
        *,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepHandle[R]: ...

    @overload
    def __call__(
        self,
        id: str | None,
        executor: Callable[Concatenate[I, ...], R],
        input: I,
        /,
        *,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepHandle[R]: ...

    @overload
    def __call__(
        self,
        id: str | None,
        executor: Callable[..., Awaitable[R]],
        /,
        *,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepHandle[R]: ...

    @overload
    def __call__(
        self,
        id: str | None,
        executor: Callable[..., R],
        /,
        *,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepHandle[R]: ...

    @overload
    def __call__(
        self,
        id: str | None,
        executor: str,
        input: Any = ...,
        /,
        *,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepHandle[Any]: ...


class MapCall(Protocol):
    """``run.map`` and ``step.map``: declares one step for each input and gives their group."""

    @overload
    def __call__(
        self,
        id: str | None,
        executor: Callable[Concatenate[Any, I, ...], Awaitable[R]],
        inputs: Iterable[I],
        /,
        *,
        key: Callable[[I], object] | None = None,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepGroup[R]: ...

    @overload
    def __call__(
        self,
        id: str | None,
        executor: Callable[Concatenate[Any, I, ...], R],
        inputs: Iterable[I],
        /,
        *,
        key: Callable[[I], object] | None = None,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepGroup[R]: ...

    @overload
    def __call__(
        self,
        id: str | None,
        executor: Callable[Concatenate[I, ...], Awaitable[R]],
        inputs: Iterable[I],
        /,
        *,
        key: Callable[[I], object] | None = None,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepGroup[R]: ...

    @overload
    def __call__(
        self,
        id: str | None,
        executor: Callable[Concatenate[I, ...], R],
        inputs: Iterable[I],
        /,
        *,
        key: Callable[[I], object] | None = None,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepGroup[R]: ...

    @overload
    def __call__(
        self,
        id: str | None,
        executor: str,
        inputs: Iterable[Any],
        /,
        *,
        key: Callable[[Any], object] | None = None,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        after: After | None = None,
        dedup_key: str | None = None,
        metadata: Metadata | None = None,
        allow_failure: bool = False,
        **results: Target,
    ) -> StepGroup[Any]: ...
