"""What tests of one's own workflows use: a clock that stands still, crashes, stubs, pytest fixtures."""

from flowkit.testing.clock import FakeClock
from flowkit.testing.crash import Crash, WorkerCrashed
from flowkit.testing.skipping import Stuck
from flowkit.testing.stub import Stub, StubCall, Stubs

__all__ = ["Crash", "FakeClock", "Stub", "StubCall", "Stubs", "Stuck", "WorkerCrashed"]
