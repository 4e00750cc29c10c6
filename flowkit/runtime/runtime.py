"""Runtime: the one object that a program makes; every method delegates."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from types import ModuleType, TracebackType
from typing import Any

import cattrs

from flowkit.artifacts import ArtifactStore
from flowkit.clock import Clock, Duration, in_seconds
from flowkit.errors import ConfigError
from flowkit.model.codec import Codec
from flowkit.model.definitions import ExecutorDef, PackageDef
from flowkit.model.limits import QueueConfig
from flowkit.projections import ProjectionStore
from flowkit.runtime.aio import AsyncRuntime
from flowkit.runtime.calls import starts_many, starts_one
from flowkit.runtime.discovery import announced, discover
from flowkit.runtime.handle import RunHandle
from flowkit.runtime.inline import CycleResult
from flowkit.runtime.lifecycle import GRACE, Lifecycle
from flowkit.runtime.operators import Operators
from flowkit.runtime.parts import Parts
from flowkit.runtime.reads import Reads
from flowkit.runtime.settings import check_objects, named_modules, seconds, settings_of
from flowkit.runtime.telemetry import Observer
from flowkit.store.stores import Store, store_of


class Runtime(Reads, Operators):
    """Declares, starts, executes, watches, retries and cancels durable step graphs in one store.

    Args:
        store: a store object, or a URL such as ``"sqlite:///var/app.db"``.
        modules: modules, or their names, whose marked functions are registered, submodules included.
        entry_points: register what installed distributions announce under ``flowkit.modules`` too.
        artifact_store: where ``step.store_artifact`` writes.
        projection_store: where ``step.projection`` writes.
        worker_id: defaults to ``{host}-{pid}-{6 hex}``.
        max_workers: attempts in flight, sync and async together; defaults to ``min(32, cpus + 4)``.
        poll_interval: seconds between looks at the store when nothing wakes a worker or waiter.
        lease_duration: seconds after which the steps of a worker that died are given to another.
        queues: limits by queue name, held across every worker of the store.
        pools: any ``concurrent.futures.Executor`` by the name that ``@executor(pool=...)`` says.
        converter: a cattrs converter with hooks for the program's own types; it is copied.
        clock: where time comes from; None is the host's.
        observers: called with each event after its commit.

    Raises:
        ConfigError: a value out of range; names the field.
        StoreError: the store cannot be opened.
        DiscoveryError, DuplicateExecutor, DuplicatePackage, ExecutorSignatureError: of the modules.
    """

    def __init__(
        self,
        store: Store | str | None,
        *,
        modules: Iterable[str | ModuleType] = (),
        entry_points: bool = True,
        artifact_store: ArtifactStore | None = None,
        projection_store: ProjectionStore | None = None,
        worker_id: str | None = None,
        max_workers: int | None = None,
        poll_interval: Duration = 0.25,
        lease_duration: Duration = 30,
        queues: Mapping[str, QueueConfig] | None = None,
        pools: Mapping[str, Executor] | None = None,
        converter: cattrs.Converter | None = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        durations, limits = (poll_interval, lease_duration), (queues, pools)
        named = named_modules(modules)
        check_objects(converter, artifact_store, projection_store)
        settings = settings_of(worker_id, max_workers, durations, limits, clock, observers)
        self._parts = Parts(store_of(store), settings, Codec(converter), artifact_store, projection_store)
        self._parts.remote.custom_converter = converter is not None
        self._lifecycle = Lifecycle(self._parts)
        self.aio = AsyncRuntime(self)
        try:
            self._parts.recording.limit()
            self._parts.telemetry.instruments.opened(self)
            self.discover(*named, *(announced() if entry_points else ()))
        except BaseException:
            self.close()
            raise

    def discover(self, *modules: str | ModuleType) -> None:
        """Register the marked functions of these modules and of their submodules.

        Raises:
            DiscoveryError: a module cannot be imported.
            DuplicateExecutor, DuplicatePackage: two functions claim one kind or name.
            ExecutorSignatureError: an annotation cannot be resolved or stored.
        """
        self._parts.check_open()
        for function in discover(modules):
            self._register(function)
        self._parts.record()

    def register_executor(self, function: Callable[..., Any] | ExecutorDef) -> None:
        """Register a function marked with ``@executor``, or an ``ExecutorDef`` made by hand."""
        self._parts.check_open()
        self._register(function)
        self._parts.record()

    def register_package(self, function: Callable[..., Any] | PackageDef) -> None:
        """Register a function marked with ``@package``, or a ``PackageDef`` made by hand."""
        self.register_executor(function)  # type: ignore[arg-type]

    def _register(self, function: Any) -> None:
        self._parts.registry.add(function, self._parts.remote.check)

    @property
    def executors(self) -> Mapping[str, ExecutorDef]:
        """The registered executors, by kind."""
        return self._parts.registry.executors

    @property
    def packages(self) -> Mapping[str, PackageDef]:
        """The registered packages, by name."""
        return self._parts.registry.packages

    @property
    def worker_id(self) -> str:
        """The name under which this Runtime leases steps."""
        return self._parts.settings.worker_id

    @starts_one
    def start_run(
        self,
        package: Any,
        input: Any = None,
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> RunHandle[Any]:
        """Start a run: structure the input, call the entrypoint, store the run and its steps in one transaction.

        Args:
            package (Callable | str): the marked entrypoint, or its name.
            input: what fits its annotation; a dict for an attrs class or dataclass is fine.
            run_id: makes the call idempotent: the same id with the same package and input gives the handle of the run
                that is there. None: ``{package}-{uuid}``.
            name: what people call the run; wins over the entrypoint's.
            metadata: a JSON object; its keys win over the entrypoint's.

        Raises:
            PackageNotRegistered: nothing of that name is registered here.
            InvalidInput: the input or the metadata does not fit.
            GraphError, LimitExceeded: the entrypoint described no graph that could run; nothing was stored.
            RunConflict: the id is taken by a run with other content; nothing was changed.
        """
        self._parts.check_open()
        return self._parts.start([self._parts.starter.wish(package, input, run_id, name, metadata)])[0]

    @starts_many
    def start_runs(
        self,
        package: Any,
        inputs: Iterable[Any],
        *,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[RunHandle[Any]]:
        """Start one run for each input, all in one transaction; takes and raises what ``start_run`` does."""
        self._parts.check_open()
        if isinstance(inputs, (str, bytes, Mapping)) or not isinstance(inputs, Iterable):
            raise ConfigError(f"start_runs: inputs: expected a list of inputs, got {inputs!r}")
        return self._parts.start(self._parts.starter.wishes(package, inputs, name, metadata))

    @starts_one
    def run(
        self,
        package: Any,
        input: Any = None,
        *,
        run_id: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> RunHandle[Any]:
        """Start a run, execute its steps in this thread until it has ended, waiting out delays; for scripts.

        Takes what ``start_run`` takes and raises what it raises.
        """
        self._lifecycle.refuse_here("run")
        handle = self.start_run(package, input, run_id=run_id, name=name, metadata=metadata)
        self._lifecycle.run_to_end(handle.id)
        return handle

    def run_once(self) -> CycleResult:
        """Make one deterministic pass in this thread: at most ``max_workers`` attempts, each step at most once.

        Raises:
            ConfigError: inside a running event loop.
        """
        self._parts.check_open()
        return self._lifecycle.run_once()

    def drain(self, timeout: Duration | None = None, max_cycles: int | None = None) -> CycleResult:
        """Make passes until no step is due, *timeout* seconds are over or *max_cycles* are made; counts are summed.

        Raises:
            ConfigError: an argument is out of range, or this thread runs an event loop.
            InvalidTransition: this thread has a transaction of the program's own database open.
        """
        self._parts.check_open()
        return self._lifecycle.drain(timeout, max_cycles)

    def start_workers(
        self,
        *,
        poll_interval: Duration | None = None,
        max_cycles: int | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Execute steps concurrently; blocks until *stop* is set, ``shutdown`` is called or *max_cycles* are made.

        Then it finishes what is in flight, or gives it back to the next worker after the grace period.

        Raises:
            ConfigError: this Runtime's workers run already.
        """
        self._parts.check_open()
        self._lifecycle.work(self._poll(poll_interval), max_cycles, stop)

    def _poll(self, given: Duration | None) -> float:
        default = self._parts.settings.poll_interval
        return default if given is None else seconds("poll_interval", given, low=0.001, high=3600)

    @contextmanager
    def workers(self, *, poll_interval: Duration | None = None) -> Iterator[Runtime]:
        """Execute steps in the background for the length of the block; an error in it is raised at the end."""
        self._parts.check_open()
        poll = self._poll(poll_interval)
        with self._lifecycle.background(lambda: self._lifecycle.work(poll, None, None)):
            yield self

    def shutdown(self, grace: Duration = GRACE) -> None:
        """Tell the workers to stop: what is in flight has *grace* seconds to end, then it is given back.

        Where none run it means those that are about to begin. It may be called again, with a shorter grace, and in a
        signal handler.
        """
        given = in_seconds(grace)
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= 86_400:
            raise ConfigError(f"shutdown: grace: expected seconds from 0 to 86400, got {grace!r}")
        self._lifecycle.shutdown(float(given))

    def close(self) -> None:
        """Stop what runs, close projections and the store; idempotent."""
        self._lifecycle.close()
        self._parts.telemetry.instruments.closed(self)
        self._parts.close()

    def __enter__(self) -> Runtime:
        self._parts.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
