"""What this host says of processes: who we are, and whether another one is still there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

import attrs

from flowkit.clock import Micros
from flowkit.model.worker import WorkerInfo, is_live


@attrs.frozen
class Presence:
    """A process, told from every other of its host: by number, and by when it was born (empty if that is not known)."""

    host: str
    pid: int
    born: str


def own_presence() -> Presence:
    """Return who this process is."""
    pid = os.getpid()
    found = _stat(pid)
    return Presence(socket.gethostname(), pid, found[1] if found else "")


def process_exists(pid: int, born: str) -> bool | None:
    """Say whether this host has a process of this number that was born then; None if it cannot tell."""
    found = _stat(pid)
    if found is not None:
        status, its_birth = found
        # A zombie has ended; it only waits for its parent to take notice.
        return status not in ("Z", "X") and born in ("", its_birth)
    if os.name != "posix" or pid <= 0:
        # Elsewhere signal 0 is no question: it would reach the process.
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def live_workers(workers: Iterable[WorkerInfo], now: Micros) -> list[WorkerInfo]:
    """Return those workers that are still there, as far as this host can tell."""
    host = socket.gethostname()
    return [one for one in workers if is_live(one, host=host, now=now, process_exists=process_exists)]


def _stat(pid: int) -> tuple[str, str] | None:
    """Return a process's state letter and start time in ticks: fields 3 and 22 of Linux's ``/proc/<pid>/stat``."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets, and may hold spaces and brackets itself.
    fields = text.rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else None
