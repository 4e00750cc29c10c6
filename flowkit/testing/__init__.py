"""What tests of one's own workflows use: a clock that stands still, crashes at named points, pytest fixtures."""

from flowkit.testing.clock import FakeClock
from flowkit.testing.crash import Crash, WorkerCrashed

__all__ = ["Crash", "FakeClock", "WorkerCrashed"]
