"""Worker processes for benchmarks: started, waited for, told to begin together, stopped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def workers(place: Path, count: int) -> Iterator[None]:
    """Have *count* worker processes at work for the length of the block; their start is not part of it."""
    command = [sys.executable, "-m", "benchmarks.worker", str(place)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(count)]  # type: ignore[call-overload]
    try:
        for process in processes:
            process.stdout.readline()
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        yield
    finally:
        for process in processes:
            process.communicate(timeout=60)
