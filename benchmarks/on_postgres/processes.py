"""10,000 no-op steps of 20 runs on PostgreSQL, drained by four worker processes, against one."""

from __future__ import annotations

from benchmarks.flows import Number, fan_out
from benchmarks.measure import Report, rounds, seconds
from benchmarks.on_postgres.measure import medians
from benchmarks.on_postgres.server import open_runtime, server, version, workers

RUNS, STEPS = 20, 500


def drained_by(url: str, count: int) -> float:
    with open_runtime(url) as rt:
        handles = rt.start_runs(fan_out, [Number(STEPS)] * RUNS)
        with workers(url, count):
            return RUNS * STEPS / seconds(lambda: [handle.wait() for handle in handles])


def main() -> None:
    count = rounds()
    with server() as started:
        report = Report(f"{version(started.url)}, processes: 10,000 no-op steps of 20 runs, steps/s")
        report.figures = medians(
            started,
            count,
            {
                "1 worker process": lambda url: drained_by(url, 1),
                "4 worker processes": lambda url: drained_by(url, 4),
            },
        )
    found = list(report.figures.values())
    report.bar("4 processes / 1", found[1] / found[0], 1.5)
    report.tell()


if __name__ == "__main__":
    main()
