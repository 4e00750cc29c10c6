"""From start_run to the result in the caller's hands on PostgreSQL: worker in the same process, then in another one."""

from __future__ import annotations

import statistics

from benchmarks.latency import CALLS, latencies, points
from benchmarks.measure import Report, rounds
from benchmarks.on_postgres import raw
from benchmarks.on_postgres.server import open_runtime, server, version, workers


def same_process(url: str) -> list[float]:
    rt = open_runtime(url)
    with rt, rt.workers():
        return latencies(rt)


def two_processes(url: str) -> list[float]:
    with open_runtime(url) as rt, workers(url, 1):
        return latencies(rt)


def main() -> None:
    count = rounds()
    scenes = {
        "raw pair of commits": lambda url: raw.pair_latencies(url, CALLS),
        "same process": same_process,
        "two processes": two_processes,
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in scenes}
    with server() as started:
        report = Report(f"{version(started.url)}, latency: start_run to result, ms")
        for _ in range(count):
            for name, measure in scenes.items():
                with started.database() as url:
                    found[name].append(points(measure(url)))
    for name, values in found.items():
        report.figures[f"{name}, p50"] = statistics.median(p50 for p50, _ in values)
        report.figures[f"{name}, p99"] = statistics.median(p99 for _, p99 in values)
    told = report.figures
    ratio = told["two processes, p50"] / told["raw pair of commits, p50"]
    report.bar("two processes / raw, p50", ratio, 3, at_least=False)
    report.tell()


if __name__ == "__main__":
    main()
