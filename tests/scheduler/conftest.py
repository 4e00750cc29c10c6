"""The store tests' own store, clock and driver."""

from __future__ import annotations

from tests.store.conftest import clock, engine, flow

__all__ = ["clock", "engine", "flow"]
