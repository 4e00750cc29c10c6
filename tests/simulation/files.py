"""The artifact store of the simulation: real files, and a disk that fails between write, fsync and rename."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowkit import FileArtifactStore
from flowkit.folders import store_errors
from tests.simulation.wire import Crashed

if TYPE_CHECKING:
    from tests.simulation.host import Host


class FrailFiles(FileArtifactStore):
    """A host's way to the artifacts."""

    def __init__(self, root: Path, host: Host) -> None:
        super().__init__(root)
        self._host = host

    def _write(self, path: Path, pieces: Iterator[bytes | memoryview]) -> Any:
        self._suffer("before an artifact is written")
        stored = super()._write(path, pieces)
        self._suffer("between an artifact's write and its rename")
        return stored

    def _shelve(self, temporary: Path, digest: str) -> None:
        super()._shelve(temporary, digest)
        self._suffer("after an artifact's rename")

    def _suffer(self, when: str) -> None:
        faults = self._host.world.faults
        if faults.strikes("artifact", 0.08):
            with store_errors(self.root):
                raise OSError(errno.ENOSPC, "No space left on device")
        if faults.strikes("crash", 0.04):
            self._host.crash(when)
            raise Crashed
