"""Where a worker's log goes when the program that it serves says nothing of that: to stderr, as warnings do."""

from __future__ import annotations

import logging
import sys

LEVELS = ("debug", "info", "warning", "error")


def log_to_stderr(level: str | None) -> None:
    """Write flowkit's log, what executors say with ``step.log`` included, to stderr.

    Args:
        level: one of ``LEVELS``; None leaves a log alone that the program has configured, and else means warnings.
    """
    logger = logging.getLogger("flowkit")
    if level is None and (_is_configured(logger) or _is_configured(logging.getLogger())):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel((level or "warning").upper())


def _is_configured(logger: logging.Logger) -> bool:
    return any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers)
