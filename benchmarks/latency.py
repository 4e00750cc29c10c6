"""From start_run to the result in the caller's hands: worker in the same process, then in another one."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks import raw
from benchmarks.crew import workers
from benchmarks.flows import Number, one, open_runtime
from benchmarks.measure import Report, directory, medians, rounds
from benchmarks.statements import seconds_alone
from flowkit import Runtime

CALLS = 300


def latencies(rt: Runtime) -> list[float]:
    rt.start_run(one, Number(0)).result()
    found = []
    for n in range(CALLS):
        started = time.perf_counter()
        rt.start_run(one, Number(n)).result()
        found.append(time.perf_counter() - started)
    return found


def same_process(place: Path) -> list[float]:
    rt = Runtime(f"sqlite:///{place / 'flowkit.db'}", modules=["benchmarks.flows"], entry_points=False)
    with rt, rt.workers():
        return latencies(rt)


def two_processes(place: Path) -> list[float]:
    with open_runtime(place) as rt, workers(place, 1):
        return latencies(rt)


def statements_alone(place: Path) -> float:
    """Return what the statements of a call take without flowkit, in milliseconds; a mean."""

    def calls(rt: Runtime) -> None:
        with rt.workers():
            latencies(rt)

    return seconds_alone(place, lambda rt: rt.start_run(one, Number(0)), calls) / CALLS * 1000


def points(values: list[float]) -> tuple[float, float]:
    """Return p50 and p99, in milliseconds."""
    cuts = statistics.quantiles(values, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


def main() -> None:
    report = Report("latency: start_run to result, ms")
    scenes = {
        "raw pair of commits": lambda place: raw.pair_latencies(place, CALLS),
        "same process": same_process,
        "two processes": two_processes,
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in scenes}
    for _ in range(rounds()):
        for name, measure in scenes.items():
            with directory() as place:
                found[name].append(points(measure(place)))
    for name, values in found.items():
        report.figures[f"{name}, p50"] = statistics.median(p50 for p50, _ in values)
        report.figures[f"{name}, p99"] = statistics.median(p99 for _, p99 in values)
    told = list(report.figures.values())
    report.bar("same process / raw, p50", told[2] / told[0], 2.5, at_least=False)
    report.bar("same process / raw, p99", told[3] / told[1], 4, at_least=False)
    report.bar("two processes, p50 in ms", told[4], 25, at_least=False)
    report.figures |= medians(rounds(), {"statements of a call alone, mean": statements_alone})
    report.figures["statements alone / raw, p50"] = list(report.figures.values())[-1] / told[0]
    report.tell()


if __name__ == "__main__":
    main()
