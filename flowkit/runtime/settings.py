"""A Runtime's settings: checked once, all of them, before anything is opened."""

from __future__ import annotations

import math
import os
import secrets
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from types import ModuleType
from typing import Any

import attrs
import cattrs

from flowkit.clock import Clock, SystemClock, in_seconds
from flowkit.errors import ConfigError
from flowkit.model.limits import QueueConfig
from flowkit.model.names import name_problem
from flowkit.runtime.telemetry import Observer


def seconds(field: str, value: Any, *, low: float, high: float) -> float:
    """Return a duration given as seconds or a timedelta.

    Raises:
        ConfigError: it is neither, or out of range.
    """
    number = in_seconds(value)
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool) and -math.inf < number < math.inf
    if not is_number or not low <= number <= high:
        raise ConfigError(f"Runtime: {field}: expected seconds from {low:g} to {high:g} or a timedelta, got {value!r}")
    return float(number)


def checked_id(field: str, value: Any) -> str:
    """Return the id of something that is looked for.

    Raises:
        ConfigError: it is no text, or one that no database can compare with an id.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{field}: expected a str, got {type(value).__name__}")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ConfigError(f"{field}: expected text without U+0000 and lone surrogates, got {value!r}")
    return value


def checked_step_id(given: Any) -> str | None:
    """Return the id of a step whose result will be waited for, None for none.

    Raises:
        ConfigError: it is none; of a number most likely a timeout, which is the first argument elsewhere.
    """
    if isinstance(given, (int, float)):
        raise ConfigError(f"step_id: expected a str, got {given!r}; seconds to wait are timeout={given!r}")
    return None if given is None else checked_id("step_id", given)


def checked_timeout(call: str, value: Any) -> float | None:
    """Return how many seconds a call may wait, None for as long as it takes; a negative time is over at once.

    Raises:
        ConfigError: it is no number.
    """
    given = None if value is None else in_seconds(value)
    if given is None:
        return None
    if isinstance(given, (int, float)) and not isinstance(given, bool) and given == given:
        try:
            return float(given)
        except OverflowError:  # an int beyond every float
            return math.inf if given > 0 else -math.inf
    raise ConfigError(f"{call}: timeout: expected None, a number of seconds or a timedelta, got {value!r}")


def checked_cycles(call: str, value: Any) -> int | None:
    """Return how many cycles to make at most, None for no limit.

    Raises:
        ConfigError: it is no int from 1.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ConfigError(f"{call}: max_cycles: expected None or an int >= 1, got {value!r}")


@attrs.frozen
class Settings:
    """What a Runtime was told, in the form that its parts use; durations in seconds."""

    worker_id: str
    max_workers: int
    poll_interval: float
    lease_duration: float
    queues: Mapping[str, QueueConfig]
    pools: Mapping[str, Executor]
    clock: Clock
    observers: tuple[Observer, ...]


def settings_of(
    worker_id: str | None,
    max_workers: int | None,
    durations: tuple[Any, Any],
    limits: tuple[Mapping[str, QueueConfig] | None, Mapping[str, Executor] | None],
    clock: Clock | None,
    observers: Iterable[Observer],
) -> Settings:
    """Check what a Runtime was given and fill in the defaults.

    Args:
        durations: poll_interval and lease_duration.
        limits: queues and pools.

    Raises:
        ConfigError: naming the field and what was expected.
    """
    poll, lease = durations
    return Settings(
        worker_id=_worker_id(worker_id),
        max_workers=_max_workers(max_workers),
        poll_interval=seconds("poll_interval", poll, low=0.001, high=3600),
        lease_duration=seconds("lease_duration", lease, low=0.1, high=86_400),
        queues=_queues(limits[0] or {}),
        pools=_pools(limits[1] or {}),
        clock=_clock(clock),
        observers=_observers(observers),
    )


def named_modules(modules: Any) -> tuple[str | ModuleType, ...]:
    """Return the modules that a Runtime was told of.

    Raises:
        ConfigError: it is no list of names and modules.
    """
    if isinstance(modules, str):
        raise ConfigError(
            f"Runtime: modules: expected a list of module names, got the str {modules!r}; write [{modules!r}]"
        )
    found = tuple(modules) if isinstance(modules, Iterable) else (modules,)
    for one in found:
        if not isinstance(one, ModuleType) and not (isinstance(one, str) and one.strip()):
            raise ConfigError(f"Runtime: modules: expected module names or modules, got {one!r}")
    return found


def check_objects(converter: Any, artifact_store: Any, projection_store: Any) -> None:
    """Refuse what is no converter or no store.

    Raises:
        ConfigError: naming the field.
    """
    if converter is not None and not isinstance(converter, cattrs.BaseConverter):
        raise ConfigError(f"Runtime: converter: expected a cattrs converter, got {converter!r}")
    stores = (("artifact_store", artifact_store, "put"), ("projection_store", projection_store, "close"))
    for field, store, method in stores:
        if store is not None and not all(callable(getattr(store, name, None)) for name in ("open", method)):
            made = "FileArtifactStore" if field == "artifact_store" else "SQLiteProjectionStore"
            raise ConfigError(f"Runtime: {field}: expected a store such as {made}(directory), got {store!r}")


def _worker_id(worker_id: str | None) -> str:
    if worker_id is None:
        return f"{socket.gethostname()[:150]}-{os.getpid()}-{secrets.token_hex(3)}"
    problem = name_problem(worker_id)
    if problem:
        raise ConfigError(f"Runtime: worker_id: {problem}")
    return worker_id


def _max_workers(value: int | None) -> int:
    if value is None:
        return min(32, (os.cpu_count() or 1) + 4)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100_000:
        raise ConfigError(f"Runtime: max_workers: expected None or an int from 1 to 100000, got {value!r}")
    return value


def _queues(queues: Mapping[str, QueueConfig]) -> Mapping[str, QueueConfig]:
    if not isinstance(queues, Mapping):
        raise ConfigError(f"Runtime: queues: expected a dict of name to QueueConfig, got {type(queues).__name__}")
    for name, config in queues.items():
        problem = name_problem(name, spaces=False)
        if problem:
            raise ConfigError(f"Runtime: queues: {problem}")
        if not isinstance(config, QueueConfig):
            raise ConfigError(f"Runtime: queues[{name!r}]: expected a QueueConfig, got {config!r}")
    return dict(queues)


def _pools(pools: Mapping[str, Executor]) -> Mapping[str, Executor]:
    if not isinstance(pools, Mapping):
        raise ConfigError(f"Runtime: pools: expected a dict of name to executor, got {type(pools).__name__}")
    for name, pool in pools.items():
        problem = name_problem(name)
        if problem:
            raise ConfigError(f"Runtime: pools: {problem}")
        if name == "process":
            raise ConfigError("Runtime: pools: the name 'process' is flowkit's own pool; choose another")
        if not callable(getattr(pool, "submit", None)):
            raise ConfigError(f"Runtime: pools[{name!r}]: expected an object with submit(fn, *args), got {pool!r}")
    return dict(pools)


def _clock(clock: Clock | None) -> Clock:
    if clock is None:
        return SystemClock()
    if not all(callable(getattr(clock, name, None)) for name in ("now", "monotonic", "wait")):
        raise ConfigError(f"Runtime: clock: expected an object with now, monotonic and wait, got {clock!r}")
    return clock


def _observers(observers: Iterable[Observer]) -> tuple[Observer, ...]:
    if not isinstance(observers, Iterable):
        raise ConfigError(f"Runtime: observers: expected a list of callables, got {observers!r}")
    found = tuple(observers)
    for observer in found:
        if not callable(observer):
            raise ConfigError(f"Runtime: observers: expected callables, got {observer!r}")
    return found
