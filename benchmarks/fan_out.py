"""10,000 no-op steps of one run, drained by one worker: threads, then ``async def``, against the raw loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import raw
from benchmarks.flows import Number, drained, fan_out, fan_out_async, open_runtime
from benchmarks.measure import Report, medians, rounds

STEPS = 10_000


def flowkit(place: Path, package: Any) -> float:
    with open_runtime(place) as rt:
        rt.start_run(package, Number(STEPS))
        return STEPS / drained(rt)


def main() -> None:
    report = Report("fan-out: 10,000 no-op steps, one worker, max_workers=64, steps/s")
    report.figures = medians(
        rounds(),
        {
            "raw (a), one by one": lambda place: raw.drain(place, STEPS, 1),
            "raw (b), batches of 100": lambda place: raw.drain(place, STEPS, 100),
            "flowkit, threads": lambda place: flowkit(place, fan_out),
            "flowkit, async def": lambda place: flowkit(place, fan_out_async),
        },
    )
    found = report.figures
    report.bar("threads / raw (a)", found["flowkit, threads"] / found["raw (a), one by one"], 3)
    report.bar("async def / threads", found["flowkit, async def"] / found["flowkit, threads"], 0.9)
    report.tell()


if __name__ == "__main__":
    main()
