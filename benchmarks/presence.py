"""What flowkit costs while it is merely there: 2,000 waiting steps, an idle worker, its import, its memory."""

from __future__ import annotations

import resource
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.flows import Number, fan_out, open_runtime, waiting
from benchmarks.measure import Report, directory, rounds, seconds

WAITING = 2_000
IDLE_SECONDS = 60.0
STEPS = 100_000
BASE = "import attrs, cattrs, peewee, structlog"
ALL = "from flowkit import RunBuilder, Runtime, SQLiteStore, StepContext, executor, package"


def concurrency(place: Path) -> float:
    with open_runtime(place, max_workers=WAITING) as rt:
        handle = rt.start_run(waiting, Number(WAITING))
        with rt.workers():
            return seconds(handle.wait)


def idle(place: Path) -> tuple[float, float, float]:
    """Return the share of a core, the statements a second and the write transactions of an idle worker."""
    seen: list[str] = []
    with open_runtime(place) as rt:
        connect = rt._parts.engine.db._connector.connect

        def traced() -> sqlite3.Connection:
            connection = connect()
            connection.set_trace_callback(seen.append)
            return connection

        rt._parts.engine.db._connector.connect = traced  # type: ignore[method-assign]
        rt._parts.engine.db.connections.lending.before_fork()  # closes those that are not traced
        stop = threading.Event()
        thread = threading.Thread(target=rt.start_workers, kwargs={"stop": stop})
        thread.start()
        time.sleep(2)
        seen.clear()
        before, started = time.process_time(), time.perf_counter()
        time.sleep(IDLE_SECONDS)
        share = (time.process_time() - before) / (time.perf_counter() - started)
        statements, writes = len(seen) / IDLE_SECONDS, sum(text.startswith("BEGIN") for text in seen)
        stop.set()
        thread.join()
    return share * 100, statements, writes


def imports(code: str, times: int = 15) -> float:
    def once() -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))

    return statistics.median(once() for _ in range(times))


def memory(place: Path) -> tuple[float, float]:
    """Drain 100,000 steps; return by how many MB the process grew over all of it, and over the second half."""

    def rss() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

    with open_runtime(place) as rt:
        # What the start of the run itself needed has been given back, or will not be asked for again.
        handle = rt.start_run(fan_out, Number(STEPS))
        sizes = [rss()]
        with rt.workers():
            while not handle.status().is_ended:
                time.sleep(0.1)
                sizes.append(rss())
    return max(sizes) - sizes[0], sizes[-1] - sizes[len(sizes) // 2]


def main() -> None:
    count = rounds(3)
    report = Report("presence: waiting, idle, import, memory")
    found = []
    for _ in range(count):
        with directory() as place:
            found.append(concurrency(place))
    report.figures["2,000 async steps of 1 s, seconds"] = statistics.median(found)
    with directory() as place:
        share, statements, writes = idle(place)
    report.figures |= {"idle: % of a core": share, "idle: statements a second": statements}
    report.figures |= {"idle: write transactions": writes}
    base, ours = imports(BASE), imports("import flowkit")
    report.figures |= {"import of the four libraries, s": base, "import flowkit, s": ours}
    # What is offered is imported when it is asked for: this is what a program that runs workers pays.
    report.figures["import what a program needs, s"] = imports(ALL)
    with directory() as place:
        grown, late = memory(place)
    report.figures |= {"100,000 steps: MB grown": grown, "of that in the second half": late}
    report.bar("2,000 async steps, seconds", report.figures["2,000 async steps of 1 s, seconds"], 4, at_least=False)
    report.bar("idle: % of a core", share, 1, at_least=False)
    report.bar("idle: statements a second", statements, 5, at_least=False)
    report.bar("idle: write transactions", writes, 0, at_least=False)
    report.bar("import / the four libraries", ours / base, 1.5, at_least=False)
    report.bar("memory growth, MB", grown, 60, at_least=False)
    report.tell()


if __name__ == "__main__":
    main()
