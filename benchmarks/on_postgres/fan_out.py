"""10,000 no-op steps of one run on PostgreSQL, drained by one worker, against the raw loops."""

from __future__ import annotations

from typing import Any

from benchmarks.flows import Number, drained, fan_out, fan_out_async
from benchmarks.measure import Report, rounds
from benchmarks.on_postgres import raw
from benchmarks.on_postgres.measure import medians
from benchmarks.on_postgres.server import open_runtime, server, version

STEPS, ONE_BY_ONE = 10_000, 2_000


def flowkit(url: str, package: Any) -> float:
    with open_runtime(url) as rt:
        rt.start_run(package, Number(STEPS))
        return STEPS / drained(rt)


def main() -> None:
    count = rounds()
    with server() as started:
        report = Report(f"{version(started.url)}, fan-out: 10,000 no-op steps, one worker, max_workers=64, steps/s")
        report.figures = medians(
            started,
            count,
            {
                "raw (a), one by one": lambda url: raw.drain(url, ONE_BY_ONE, 1),
                "raw (b), batches of 100": lambda url: raw.drain(url, STEPS, 100),
                "flowkit, threads": lambda url: flowkit(url, fan_out),
                "flowkit, async def": lambda url: flowkit(url, fan_out_async),
            },
        )
    found = report.figures
    report.bar("threads / raw (a)", found["flowkit, threads"] / found["raw (a), one by one"], 3)
    report.tell()


if __name__ == "__main__":
    main()
