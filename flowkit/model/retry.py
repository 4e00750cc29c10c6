"""How often a step is attempted and how long it waits in between."""

from __future__ import annotations

import math
import sys
from pathlib import PurePath
from typing import Any, Literal

import attrs

from flowkit.clock import Micros, in_seconds, micros
from flowkit.errors import ConfigError

Backoff = Literal["exponential", "linear", "fixed"]
MAX_SECONDS = 10 * 366 * 86_400
"""Ten years: the longest delay, timeout or back-off that is taken."""


def seconds_in_range(owner: str, field: str, value: Any, *, low: float = 0.0, exclusive: bool = False) -> float:
    """Return *value* as seconds, or raise ``ConfigError`` naming *owner* and *field*."""
    number = _is_number(value) and -math.inf < value < math.inf
    if not number or value > MAX_SECONDS or value < low or (exclusive and value == low):
        raise ConfigError(
            f"{owner}: {field}: expected seconds {'>' if exclusive else '>='} {low:g} "
            f"and at most {MAX_SECONDS} (ten years), got {value!r}"
        )
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def qualified_name(cls: type) -> str:
    """Name a class as ``module:qualname``, the form that is stored."""
    return f"{_imported_as(cls.__module__)}:{cls.__qualname__}"


def _imported_as(module: str) -> str:
    """Return the name by which others import a module: a program that was started has another one for itself."""
    if module not in ("__main__", "__mp_main__"):
        return module
    main = sys.modules.get(module)
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name)
    return PurePath(file).stem if file else module


def _names(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, (tuple, list, frozenset, set)) else (value,)
    names = []
    for item in items:
        if isinstance(item, type) and issubclass(item, BaseException):
            names.append(qualified_name(item))
        elif isinstance(item, str) and ":" in item:
            names.append(item)
        else:
            raise ConfigError(f"Retry: on: expected exception types, got {item!r}")
    return tuple(sorted(set(names)))


@attrs.frozen
class Retry:
    """The retry policy of a step; it is stored with the step and refuses nonsense when built.

    Attributes:
        max_attempts: how many attempts may be charged, the first included: errors, timeouts and lost workers alike.
        backoff: how the delay grows from one attempt to the next.
        initial: seconds, or a timedelta, before the second attempt.
        maximum: seconds, or a timedelta, that no computed delay exceeds.
        multiplier: factor of the exponential back-off; growth per attempt, in units of *initial*, of the linear one.
        jitter: 0 to 1; each delay is drawn from ``delay * (1 - jitter) .. delay``, once, and then stored.
        on: exception types that are retried besides ``Retryable``, timeouts and lost workers.
    """

    max_attempts: int = 3
    backoff: Backoff = "exponential"
    initial: float = attrs.field(default=1.0, converter=in_seconds)
    maximum: float = attrs.field(default=60.0, converter=in_seconds)
    multiplier: float = 2.0
    jitter: float = 0.0
    on: tuple[str, ...] = attrs.field(default=(), converter=_names)

    def __attrs_post_init__(self) -> None:
        most = self.max_attempts
        if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= 1_000_000:
            raise ConfigError(f"Retry: max_attempts: expected an int from 1 to 1000000, got {most!r}")
        if self.backoff not in ("exponential", "linear", "fixed"):
            raise ConfigError(f"Retry: backoff: expected 'exponential', 'linear' or 'fixed', got {self.backoff!r}")
        seconds_in_range("Retry", "initial", self.initial)
        seconds_in_range("Retry", "maximum", self.maximum)
        if self.initial > self.maximum:
            expected = f"expected at most maximum ({self.maximum!r})"
            raise ConfigError(f"Retry: initial: {expected}, got {self.initial!r}; raise maximum too")
        factor = self.multiplier
        if not (_is_number(factor) and 0 < factor <= MAX_SECONDS):
            raise ConfigError(f"Retry: multiplier: expected a number > 0 and at most {MAX_SECONDS}, got {factor!r}")
        if not (_is_number(self.jitter) and 0 <= self.jitter <= 1):
            raise ConfigError(f"Retry: jitter: expected a number from 0 to 1, got {self.jitter!r}")

    def delay_after(self, attempt: int, draw: float = 0.0) -> Micros:
        """Return how long to wait after *attempt* (1-based) failed; *draw* in 0..1 picks the jitter."""
        return micros(min(self._grown(attempt), self.maximum) * (1 - self.jitter * draw))

    def _grown(self, attempt: int) -> float:
        if self.backoff == "fixed" or not self.initial:
            return self.initial
        if self.backoff == "linear":
            return self.initial * (1 + (attempt - 1) * self.multiplier)
        try:
            return self.initial * float(self.multiplier) ** (attempt - 1)
        except OverflowError:
            return self.maximum

    def lists(self, error: BaseException) -> bool:
        """Whether the type of *error*, or a base of it, is named in ``on``."""
        return bool(self.on) and any(
            qualified_name(base) in self.on or f"{base.__module__}:{base.__qualname__}" in self.on
            for base in type(error).__mro__
        )
