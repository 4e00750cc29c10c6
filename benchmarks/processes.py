"""10,000 no-op steps drained by four worker processes on one file, against one process; and CPU-bound steps."""

from __future__ import annotations

from pathlib import Path

from benchmarks.crew import workers
from benchmarks.flows import Number, Shape, burning, fan_out, open_runtime
from benchmarks.measure import Report, medians, rounds, seconds

STEPS = 10_000
BURNS, SIZE = 16, 2_000_000


def drained_by(place: Path, count: int) -> float:
    with open_runtime(place) as rt:
        handle = rt.start_run(fan_out, Number(STEPS))
        with workers(place, count):
            return STEPS / seconds(handle.wait)


def burned(place: Path, processes: int) -> float:
    with open_runtime(place, max_workers=processes) as rt, rt.workers():
        # The children are started and warm before it counts.
        rt.start_run(burning, Shape(processes, 1000)).wait()
        handle = rt.start_run(burning, Shape(BURNS, SIZE))
        return BURNS / seconds(handle.wait)


def main() -> None:
    report = Report("processes: steps/s")
    report.figures = medians(
        rounds(),
        {
            "1 worker process": lambda place: drained_by(place, 1),
            "4 worker processes": lambda place: drained_by(place, 4),
            "CPU-bound, pool='process', one at a time": lambda place: burned(place, 1),
            "CPU-bound, pool='process', two at a time": lambda place: burned(place, 2),
        },
    )
    found = list(report.figures.values())
    report.bar("4 processes / 1", found[1] / found[0], 1.0)
    report.bar("CPU-bound, two / one", found[3] / found[2], 1.7)
    report.tell()


if __name__ == "__main__":
    main()
