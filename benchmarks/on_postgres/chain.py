"""A chain of 1,000 steps on PostgreSQL, each needing the one before."""

from __future__ import annotations

from benchmarks.flows import Number, chained, drained
from benchmarks.measure import Report, rounds
from benchmarks.on_postgres import raw
from benchmarks.on_postgres.measure import medians
from benchmarks.on_postgres.server import open_runtime, server, version

STEPS = 1_000


def flowkit(url: str) -> float:
    with open_runtime(url) as rt:
        rt.start_run(chained, Number(STEPS))
        return STEPS / drained(rt)


def main() -> None:
    count = rounds()
    with server() as started:
        report = Report(f"{version(started.url)}, chain: 1,000 steps, one after another, steps/s")
        report.figures = medians(
            started, count, {"raw (a)": lambda url: raw.drain(url, STEPS, 1, chain=True), "flowkit": flowkit}
        )
    report.bar("flowkit / raw (a)", report.figures["flowkit"] / report.figures["raw (a)"], 0.9)
    report.tell()


if __name__ == "__main__":
    main()
