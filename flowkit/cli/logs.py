"""Where a worker's log goes when the program that it serves says nothing of that: to stderr, as warnings do."""

from __future__ import annotations

import logging
import sys

LEVELS = ("debug", "info", "warning", "error")


def log_to_stderr(level: str | None) -> None:
    """Write flowkit's log, what executors say with ``step.log`` included, to stderr.

    Args:
        level: one of ``LEVELS``; None for warnings, or, of a log that the program has configured, for what that says.
    """
    import structlog

    logger = logging.getLogger("flowkit")
    if not _has_handlers(logger) and not _has_handlers(logging.getLogger()):
        handler = logging.StreamHandler(sys.stderr)
        # How a line looks is structlog's to say where the program configured it and has it write to this logger.
        form = "%(message)s" if structlog.is_configured() else "%(asctime)s %(levelname)s %(message)s"
        handler.setFormatter(logging.Formatter(form))
        logger.addHandler(handler)
        level = level or "warning"
    if level is not None:
        logger.setLevel(level.upper())


def _has_handlers(logger: logging.Logger) -> bool:
    return any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers)
