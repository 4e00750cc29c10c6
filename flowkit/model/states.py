"""The statuses of runs and steps, one line of meaning each."""

from __future__ import annotations

from enum import Enum


class _Status(str, Enum):
    def __format__(self, spec: str) -> str:
        return format(self.value, spec)


class RunStatus(_Status):
    """Where a run is."""

    PENDING = "pending"
    """Stored; no step of it has been leased yet."""
    RUNNING = "running"
    """At least one step has been leased and at least one is open."""
    CANCELING = "canceling"
    """Canceled; waits for its running steps to end or lose their leases."""
    SUCCEEDED = "succeeded"
    """Every step ended and none failed without leave to."""
    FAILED = "failed"
    """Every step ended and one failed without ``allow_failure``."""
    CANCELED = "canceled"
    """Ended because it was canceled."""

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen unless an operator retries it."""
        return self in ENDED_RUN


class StepStatus(_Status):
    """Where a step is."""

    PENDING = "pending"
    """Waits for dependencies."""
    READY = "ready"
    """May be leased, now or at a stated later time."""
    RUNNING = "running"
    """Leased by a worker."""
    SUCCEEDED = "succeeded"
    """Its result is committed."""
    FAILED = "failed"
    """It will not be attempted again by itself."""
    CANCELED = "canceled"
    """Its run was canceled, or a step it requires ended without success."""

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen unless an operator retries it."""
        return self in ENDED_STEP


ENDED_RUN = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED})
OPEN_STEP = frozenset({StepStatus.PENDING, StepStatus.READY, StepStatus.RUNNING})
ENDED_STEP = frozenset({StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.CANCELED})
DEAD_STEP = frozenset({StepStatus.FAILED, StepStatus.CANCELED})
