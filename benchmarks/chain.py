"""A chain of 1,000 steps, each needing the one before: settling one and leasing the next is one commit."""

from __future__ import annotations

from pathlib import Path

from benchmarks import raw
from benchmarks.flows import Number, chained, drained, open_runtime
from benchmarks.measure import Report, medians, rounds

STEPS = 1_000


def flowkit(place: Path) -> float:
    with open_runtime(place) as rt:
        rt.start_run(chained, Number(STEPS))
        return STEPS / drained(rt)


def main() -> None:
    report = Report("chain: 1,000 steps, one after another, steps/s")
    report.figures = medians(
        rounds(), {"raw (a)": lambda place: raw.drain(place, STEPS, 1, chain=True), "flowkit": flowkit}
    )
    report.bar("flowkit / raw (a)", report.figures["flowkit"] / report.figures["raw (a)"], 1.0)
    report.tell()


if __name__ == "__main__":
    main()
