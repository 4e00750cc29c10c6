"""What an attempt is in another process: the executor found by name, the step context, and a report of how it ended."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import operator
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import attrs

from flowkit.artifacts import ArtifactStore, open_artifact_store
from flowkit.clock import Micros, micros
from flowkit.dsl.decorators import definitions_of
from flowkit.errors import ConfigError
from flowkit.model.codec import Codec
from flowkit.model.definitions import ExecutorDef
from flowkit.model.outcome import Outcome, decide
from flowkit.model.outputs import Progress
from flowkit.model.signature import EXECUTOR, place_of, signature_reader
from flowkit.projections import ProjectionStore, open_projection_store
from flowkit.runtime.attempt import run_attempt, run_attempt_async
from flowkit.runtime.attempts import Attempt
from flowkit.runtime.process.child import Channel
from flowkit.runtime.registry import Executable, executable
from flowkit.runtime.remote.line import ChannelLine, KindsByLine, Line, NoLine
from flowkit.runtime.remote.wire import Place, Report, Task, pack, unpack
from flowkit.runtime.services import Services, emitting
from flowkit.runtime.telemetry import logger


def serve(body: bytes, channel: Channel) -> bytes:
    """Run the attempt that *body* tells of in a child of the process pool; returns the report."""
    return _reported(unpack(body, Task), ChannelLine(channel))


def run_task(body: bytes) -> bytes:
    """Run the attempt that *body* tells of wherever an executor of the program calls this; returns the report."""
    task = unpack(body, Task)
    return _reported(task, NoLine(task))


def find_definition(module: str, qualname: str, kind: str) -> ExecutorDef:
    """Return the executor of a kind that stands under this name in this process.

    Raises:
        ConfigError: there is nothing of that name, or nothing that can be an executor.
    """
    try:
        function = operator.attrgetter(qualname)(importlib.import_module(module))
        marks = [one for one in definitions_of(function) if isinstance(one, ExecutorDef) and one.kind == kind]
        return marks[0] if marks else _unmarked(function, kind)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise ConfigError(f"executor {kind!r} is not to be found as {module}:{qualname} ({told})") from error


def _unmarked(function: Callable[..., Any], kind: str) -> ExecutorDef:
    # A definition that was made by hand leaves no mark on its function.
    is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
    return ExecutorDef(kind, function, place_of(function), signature_reader(function, EXECUTOR), is_async=is_async)


@attrs.define(eq=False)
class _Stores:
    """The Runtime's stores as this process opens them, when they are needed."""

    _artifacts: Place
    _projections: Place
    _opened: ProjectionStore | None = None

    def artifacts(self) -> ArtifactStore:
        return open_artifact_store(_url(self._artifacts))

    def projections(self) -> ProjectionStore:
        if self._opened is None:
            self._opened = open_projection_store(_url(self._projections))
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()


def _url(place: Place) -> str:
    if place.url is None:
        raise ConfigError(place.refusal)
    return place.url


def _pass_on(attempt: _Attempt, _: Any, progress: Progress) -> Progress:
    attempt.tell(progress)
    return progress


@attrs.define(eq=False)
class _Attempt(Attempt):
    """An attempt whose progress is told to the process that holds its lease; the lease is kept there."""

    tell: Callable[[Progress], None] = attrs.field(kw_only=True, repr=False)
    progress: Progress | None = attrs.field(default=None, on_setattr=_pass_on)


def _reported(task: Task, line: Line) -> bytes:
    with closing(line):
        try:
            return pack(_run(task, line))
        except Exception as error:
            # Not the executor's own: it cannot be found here, or what it handed over is no JSON.
            return pack(Report(_decided(task, error)))


def _decided(task: Task, error: Exception) -> Outcome:
    leased = task.leased
    return decide(error, retry=leased.retry, attempt=leased.attempt, now=task.now, draw=random.random())


def _run(task: Task, line: Line) -> Report:
    found = _executable(find_definition(task.module, task.qualname, task.leased.kind))
    attempt = _Attempt(task.leased, found, _nobody, tell=line.tell)
    with closing(_Stores(task.artifacts, task.projections)) as stores, _within(task.trace):
        services = _services(line, found.definition, stores, line.begin())
        if found.definition.is_async:
            outcome = asyncio.run(run_attempt_async(attempt, services))
        else:
            outcome = run_attempt(attempt, services)
    return Report(outcome, attempt.progress)


@contextmanager
def _within(trace: Mapping[str, str]) -> Iterator[None]:
    """Go on with an attempt's trace here, so that what its executor traces lies within the attempt's span."""
    if not trace or find_spec("opentelemetry") is None:
        yield
        return
    from opentelemetry import context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    token = context.attach(TraceContextTextMapPropagator().extract(trace))
    try:
        yield
    finally:
        context.detach(token)


def _services(line: Line, own: ExecutorDef, stores: _Stores, began_at: Micros) -> Services:
    kinds, began = KindsByLine(line, own, find_definition), time.monotonic()
    return Services(
        # The engine's time, as it was told at the start; this host's wall clock may be off.
        now=lambda: began_at + micros(time.monotonic() - began),
        read_run=line.read_run,
        read_step=line.read_step,
        read_result=line.read_result,
        decode=_codec().decode,
        builder=emitting(kinds, _codec().encode),
        logger=lambda **known: logger().bind(**known),
        artifacts=stores.artifacts,
        projections=stores.projections,
    )


def _nobody(*_: Any) -> None:
    return


# A process runs many attempts of few executors, and compiling the codecs of one takes longer than most calls.
@lru_cache(maxsize=256)
def _executable(definition: ExecutorDef) -> Executable:
    return executable(definition, _codec())


@lru_cache(maxsize=1)
def _codec() -> Codec:
    return Codec()
