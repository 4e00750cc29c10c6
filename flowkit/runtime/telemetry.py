"""Tells events to the log and to observers; a broken observer never hurts a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from flowkit.model.events import Event
from flowkit.runtime.instruments import Instruments

_LOGGER = logging.getLogger("flowkit")

Observer = Callable[[Event], None]

_LEVELS = {
    "step_failed": logging.ERROR,
    "attempt_divergence": logging.ERROR,
    "step_retried": logging.WARNING,
    "lease_expired": logging.WARNING,
    "clock_stepped_back": logging.WARNING,
    "run_finished": logging.INFO,
}


def logger() -> Any:
    """Return flowkit's logger: the program's structlog if it configured one, else the standard logger ``flowkit``.

    flowkit configures neither; the standard logger is silent until the program gives it a handler.
    """
    if structlog.is_configured():
        return structlog.get_logger("flowkit")
    standard = logging.getLogger("flowkit")
    if not any(isinstance(handler, logging.NullHandler) for handler in standard.handlers):
        standard.addHandler(logging.NullHandler())
    return structlog.wrap_logger(
        standard,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class Telemetry:
    """Where events go after the commit."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers: Sequence[Observer] = tuple(observers)
        self._listens = any(getattr(one, "listens", True) for one in self._observers)
        self.instruments = Instruments(self._observers, lambda said: self.log.exception(said))
        self._log: Any = None
        self._configured = False

    @property
    def log(self) -> Any:
        """flowkit's logger as the program has configured it by now."""
        configured = structlog.is_configured()
        if self._log is None or configured != self._configured:
            self._log, self._configured = logger(), configured
        return self._log

    def bound(self, **known: Any) -> Any:
        """Return the logger of the executor that runs here."""
        return self.log.bind(**known, **self.instruments.log_fields())

    @property
    def listening(self) -> bool:
        """Whether anybody may want events that are logged at debug level."""
        return (
            self._listens
            or structlog.is_configured()
            or _LOGGER.isEnabledFor(logging.DEBUG)
        )

    def tell(self, events: Iterable[Event]) -> None:
        """Log each event and pass it to the observers."""
        for event in events:
            self._log_one(event)
            for observer in self._observers:
                try:
                    observer(event)
                except Exception:
                    self.log.exception("observer_failed", event_name=event.name)

    def _log_one(self, event: Event) -> None:
        level = _LEVELS.get(event.name, logging.DEBUG)
        if not structlog.is_configured() and not _LOGGER.isEnabledFor(level):
            return  # the standard logger would drop it too, but only once it is written out
        known = {
            "run_id": event.run_id,
            "step_id": event.step_id,
            "kind": event.kind,
            "queue": event.queue,
            "attempt": event.attempt,
            "worker_id": event.worker_id,
        }
        fields = {name: value for name, value in known.items() if value is not None}
        fields |= self.instruments.log_fields(event)
        try:
            self.log.log(level, event.name, **fields, **_plain(event.fields))
        except Exception:  # a program's broken log processor must not stop the worker
            logging.getLogger("flowkit").debug("a log processor failed", exc_info=True)


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    # "event" and "message" are structlog's and logging's own.
    return {("error" if name == "message" else name): getattr(value, "value", value) for name, value in fields.items()}
