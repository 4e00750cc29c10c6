"""The options of executors and steps: checked one by one, and resolved step over executor over package over default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from flowkit.clock import Micros, in_seconds, micros
from flowkit.errors import ConfigError, GraphError, InvalidInput
from flowkit.model.definitions import ANY, ExecutorDef
from flowkit.model.gate import METADATA_LIMIT
from flowkit.model.names import name_problem
from flowkit.model.plan import DEFAULT_QUEUE, DEFAULT_RETRY
from flowkit.model.retry import Retry, seconds_in_range
from flowkit.model.signature import STEP_OPTIONS
from flowkit.model.struct import struct

PRIORITIES = range(-1000, 1001)
"""Smaller first."""


def checked_name(owner: str, field: str, value: Any, *, spaces: bool = True) -> str:
    """Return *value* if it may be a name, or raise ``ConfigError`` naming *owner* and *field*."""
    problem = name_problem(value, spaces=spaces)
    if problem:
        raise ConfigError(f"{owner}: {field}: {problem}")
    return str(value)


def checked_queue(owner: str, value: Any) -> str | None:
    """Return the name of a queue, None if none is given, or raise ``ConfigError``."""
    return None if value is None else checked_name(owner, "queue", value, spaces=False)


def checked_retry(owner: str, value: Any) -> Retry | None:
    """Return a retry policy, None if none is given, or raise ``ConfigError``."""
    if value is None or isinstance(value, Retry):
        return value
    raise ConfigError(f"{owner}: retry: expected a Retry, got {value!r}")


def checked_priority(owner: str, value: Any) -> int | None:
    """Return a priority, None if none is given, or raise ``ConfigError``."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value in PRIORITIES):
        return value
    raise ConfigError(f"{owner}: priority: expected an int from {PRIORITIES[0]} to {PRIORITIES[-1]}, got {value!r}")


def checked_timeout(owner: str, value: Any) -> Micros | None:
    """Return a timeout given in seconds or as a timedelta, None if none is given, or raise ``ConfigError``."""
    return None if value is None else max(1, _duration(owner, "timeout", value, exclusive=True))


def checked_delay(owner: str, value: Any) -> Micros:
    """Return a delay given in seconds or as a timedelta, 0 if none is given, or raise ``ConfigError``."""
    return 0 if value is None else _duration(owner, "delay", value)


def _duration(owner: str, field: str, value: Any, *, exclusive: bool = False) -> Micros:
    return micros(seconds_in_range(owner, field, in_seconds(value), exclusive=exclusive))


@struct
class Options:
    """The options of one declaration, resolved; what a ``StepSpec`` holds besides kind, ids, inputs and bindings."""

    queue: str
    priority: int
    retry: Retry
    timeout: Micros | None
    delay: Micros
    allow_failure: bool
    dedup_key: str | None
    metadata: str | None


_GIVEN = frozenset(STEP_OPTIONS) - {"after"}


@attrs.frozen
class OptionReader:
    """Reads the options given to ``run.step``, ``run.map`` and ``step.emit``."""

    default_queue: str | None
    encode: Any

    def read(self, owner: str, given: dict[str, Any], definition: ExecutorDef | None) -> Options:
        """Take the options out of *given* and resolve them; what is left there are bindings.

        Raises:
            GraphError: an option has the wrong type or is out of range; names *owner* and the option.
        """
        defaults = self._defaults(definition)
        if _GIVEN.isdisjoint(given):
            return defaults
        try:
            told = {name: read(owner, given.pop(name)) for name, read in _READERS.items() if name in given}
            told["metadata"] = self._metadata(owner, given.pop("metadata", None))
        except ConfigError as error:
            raise GraphError(str(error)) from None
        return attrs.evolve(defaults, **{name: value for name, value in told.items() if value is not None})

    def _defaults(self, definition: ExecutorDef | None) -> Options:
        of = definition or _NO_DEFAULTS
        queue = of.queue or self.default_queue or DEFAULT_QUEUE
        return Options(queue, of.priority or 0, of.retry or DEFAULT_RETRY, of.timeout, 0, False, None, None)

    def _metadata(self, owner: str, value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise ConfigError(f"{owner}: metadata: expected a dict, got {value!r}")
        try:
            body: bytes = self.encode(dict(value), ANY, f"{owner}: metadata")
        except InvalidInput as error:
            raise GraphError(str(error)) from error
        if len(body) > METADATA_LIMIT:
            raise ConfigError(f"{owner}: metadata: expected at most {METADATA_LIMIT} bytes of JSON, got {len(body)}")
        return body.decode()


@attrs.frozen
class _NoDefaults:
    queue: None = None
    priority: None = None
    retry: None = None
    timeout: None = None


_NO_DEFAULTS = _NoDefaults()


def _flag(owner: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ConfigError(f"{owner}: allow_failure: expected a bool, got {value!r}")


def _dedup_key(owner: str, value: Any) -> str | None:
    return None if value is None else checked_name(owner, "dedup_key", value)


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "queue": checked_queue,
    "timeout": checked_timeout,
    "priority": checked_priority,
    "retry": checked_retry,
    "delay": checked_delay,
    "allow_failure": _flag,
    "dedup_key": _dedup_key,
}
"""What checks an option that is given, in the order in which what is wrong is told; None means the default."""
