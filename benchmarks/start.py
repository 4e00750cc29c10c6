"""Starting runs: one by one, 1,000 at once, and one run of 100,000 steps."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import raw
from benchmarks.flows import Number, fan_out, one, open_runtime
from benchmarks.measure import Report, medians, rounds, seconds
from benchmarks.statements import seconds_alone
from flowkit import Runtime

RUNS, LARGE = 1_000, 100_000


def one_by_one(rt: Runtime) -> None:
    for n in range(RUNS):
        rt.start_run(one, Number(n))


def at_once(rt: Runtime) -> None:
    rt.start_runs(one, [Number(n) for n in range(RUNS)])


def started(place: Path, start: Callable[[Runtime], None]) -> float:
    with open_runtime(place) as rt:
        return RUNS / seconds(lambda: start(rt))


def statements_alone(place: Path, start: Callable[[Runtime], None]) -> float:
    return RUNS / seconds_alone(place, lambda rt: rt.start_run(one, Number(0)), start)


def large(place: Path) -> None:
    """Start one large run and print how long it took and the most memory the process had."""
    with open_runtime(place) as rt:
        took = seconds(lambda: rt.start_run(fan_out, Number(LARGE)))
    print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def large_elsewhere(place: Path, column: int) -> float:
    code = f"from pathlib import Path; from benchmarks.start import large; large(Path({str(place)!r}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(told.stdout.split()[column])


def main() -> None:
    report = Report("start: runs/s, one run of 100,000 steps")
    report.figures = medians(
        rounds(),
        {
            "raw, single insert transactions": lambda place: raw.inserts(place, RUNS),
            "start_run, one by one": lambda place: started(place, one_by_one),
            "start_runs, 1,000 at once": lambda place: started(place, at_once),
            "one run of 100,000 steps, seconds": lambda place: large_elsewhere(place, 0),
            "one run of 100,000 steps, MB at most": lambda place: large_elsewhere(place, 1),
            "start_run, its statements alone": lambda place: statements_alone(place, one_by_one),
            "start_runs, their statements alone": lambda place: statements_alone(place, at_once),
        },
    )
    found = list(report.figures.values())
    report.figures["start_run, statements alone / raw"] = found[5] / found[0]
    report.figures["start_runs, statements alone / raw"] = found[6] / found[0]
    report.bar("start_run / raw", found[1] / found[0], 0.6)
    report.bar("start_runs / raw", found[2] / found[0], 10)
    report.bar("100,000 steps, seconds", found[3], 15, at_least=False)
    report.bar("100,000 steps, MB", found[4], 400, at_least=False)
    report.tell()


if __name__ == "__main__":
    main()
