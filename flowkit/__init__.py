"""flowkit: durable workflows that live inside a Python program."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowkit.artifacts import FileArtifactStore
    from flowkit.clock import Clock, SystemClock
    from flowkit.dsl.builder import RunBuilder
    from flowkit.dsl.decorators import executor, package
    from flowkit.dsl.handles import StepGroup, StepHandle, chain, optional, require
    from flowkit.errors import (
        ConfigError,
        DataCorrupted,
        DiscoveryError,
        DuplicateExecutor,
        DuplicatePackage,
        ExecutorNotRegistered,
        ExecutorSignatureError,
        FlowkitError,
        GraphError,
        InvalidInput,
        InvalidTransition,
        LeaseLost,
        LimitExceeded,
        MissingExtra,
        PackageNotRegistered,
        Permanent,
        ResultNotFound,
        Retryable,
        RunCanceled,
        RunConflict,
        RunFailed,
        RunNotFound,
        RuntimeClosed,
        SchemaTooNew,
        StepFailure,
        StepNotFound,
        StoreBusy,
        StoreError,
        StoreFull,
        StoreUnavailable,
        WaitTimeout,
    )
    from flowkit.model.events import Event, HistoryEvent
    from flowkit.model.limits import QueueConfig, RateLimit
    from flowkit.model.outcome import StepError
    from flowkit.model.outputs import Artifact, ArtifactRef, Progress, Record
    from flowkit.model.retry import Retry
    from flowkit.model.run import Page, Run, StepCounts
    from flowkit.model.sensitive import Sensitive, sensitive
    from flowkit.model.states import RunStatus, StepStatus
    from flowkit.model.step import Attempt, Step, StepResult
    from flowkit.projections import Projection, SQLiteProjectionStore
    from flowkit.runtime.aio import AsyncRuntime
    from flowkit.runtime.aio_handle import AsyncRunHandle
    from flowkit.runtime.context import StepContext
    from flowkit.runtime.handle import RunHandle
    from flowkit.runtime.inline import CycleResult
    from flowkit.runtime.runtime import Runtime
    from flowkit.scheduler.explain import Explanation
    from flowkit.store.postgres_store import PostgresStore
    from flowkit.store.stores import SQLiteStore

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "ArtifactRef",
    "AsyncRunHandle",
    "AsyncRuntime",
    "Attempt",
    "Clock",
    "ConfigError",
    "CycleResult",
    "DataCorrupted",
    "DiscoveryError",
    "DuplicateExecutor",
    "DuplicatePackage",
    "Event",
    "ExecutorNotRegistered",
    "ExecutorSignatureError",
    "Explanation",
    "FileArtifactStore",
    "FlowkitError",
    "GraphError",
    "HistoryEvent",
    "InvalidInput",
    "InvalidTransition",
    "LeaseLost",
    "LimitExceeded",
    "MissingExtra",
    "PackageNotRegistered",
    "Page",
    "Permanent",
    "PostgresStore",
    "Progress",
    "Projection",
    "QueueConfig",
    "RateLimit",
    "Record",
    "ResultNotFound",
    "Retry",
    "Retryable",
    "Run",
    "RunBuilder",
    "RunCanceled",
    "RunConflict",
    "RunFailed",
    "RunHandle",
    "RunNotFound",
    "RunStatus",
    "Runtime",
    "RuntimeClosed",
    "SQLiteProjectionStore",
    "SQLiteStore",
    "SchemaTooNew",
    "Sensitive",
    "Step",
    "StepContext",
    "StepCounts",
    "StepError",
    "StepFailure",
    "StepGroup",
    "StepHandle",
    "StepNotFound",
    "StepResult",
    "StepStatus",
    "StoreBusy",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "SystemClock",
    "WaitTimeout",
    "chain",
    "executor",
    "optional",
    "package",
    "require",
    "sensitive",
]

# A name is imported when it is first asked for. pytest loads flowkit's plugin wherever flowkit is installed, and the
# shell its command at every completion: neither should wait for a database library that it does not use.
_HOMES = {
    "flowkit.artifacts": "FileArtifactStore",
    "flowkit.clock": "Clock SystemClock",
    "flowkit.dsl.builder": "RunBuilder",
    "flowkit.dsl.decorators": "executor package",
    "flowkit.dsl.handles": "StepGroup StepHandle chain optional require",
    "flowkit.errors": (
        "ConfigError DataCorrupted DiscoveryError DuplicateExecutor DuplicatePackage ExecutorNotRegistered "
        "ExecutorSignatureError FlowkitError GraphError InvalidInput InvalidTransition LeaseLost "
        "LimitExceeded MissingExtra PackageNotRegistered Permanent ResultNotFound Retryable RunCanceled "
        "RunConflict RunFailed RunNotFound RuntimeClosed SchemaTooNew StepFailure StepNotFound StoreBusy "
        "StoreError StoreFull StoreUnavailable WaitTimeout"
    ),
    "flowkit.model.events": "Event HistoryEvent",
    "flowkit.model.limits": "QueueConfig RateLimit",
    "flowkit.model.outcome": "StepError",
    "flowkit.model.outputs": "Artifact ArtifactRef Progress Record",
    "flowkit.model.retry": "Retry",
    "flowkit.model.run": "Page Run StepCounts",
    "flowkit.model.sensitive": "Sensitive sensitive",
    "flowkit.model.states": "RunStatus StepStatus",
    "flowkit.model.step": "Attempt Step StepResult",
    "flowkit.projections": "Projection SQLiteProjectionStore",
    "flowkit.runtime.aio": "AsyncRuntime",
    "flowkit.runtime.aio_handle": "AsyncRunHandle",
    "flowkit.runtime.context": "StepContext",
    "flowkit.runtime.handle": "RunHandle",
    "flowkit.runtime.runtime": "Runtime",
    "flowkit.runtime.inline": "CycleResult",
    "flowkit.scheduler.explain": "Explanation",
    "flowkit.store.postgres_store": "PostgresStore",
    "flowkit.store.stores": "SQLiteStore",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        home = _HOME.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(home), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
