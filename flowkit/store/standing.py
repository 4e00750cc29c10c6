"""How a run stands: what a transaction that has locked it knows, and needs no statement to find out."""

from __future__ import annotations

from typing import Any

from flowkit.clock import Micros
from flowkit.model.states import RunStatus
from flowkit.model.struct import struct


@struct
class StoredRun:
    """A run as its row is, before the transaction at hand changes it."""

    key: int
    id: str
    package: str
    status: RunStatus
    nodes: int
    steps: int
    edges: int
    generation: int
    input_sha256: bytes
    name: str | None
    open_steps: int
    failed_steps: int
    canceled_by_run: int
    events: int
    created_at: Micros


def stored(row: tuple[Any, ...]) -> StoredRun:
    """Return a run from its row."""
    return StoredRun(row[0], row[1], row[2], RunStatus(row[3]), *row[4:])
