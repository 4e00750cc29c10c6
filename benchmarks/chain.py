"""A chain of 1,000 steps, each needing the one before: settling one and leasing the next is one commit."""

from __future__ import annotations

from pathlib import Path

from benchmarks import raw
from benchmarks.flows import Number, chained, drained, open_runtime
from benchmarks.measure import Report, medians, rounds
from benchmarks.statements import seconds_alone

STEPS = 1_000


def flowkit(place: Path) -> float:
    with open_runtime(place) as rt:
        rt.start_run(chained, Number(STEPS))
        return STEPS / drained(rt)


def statements_alone(place: Path) -> float:
    return STEPS / seconds_alone(place, lambda rt: rt.start_run(chained, Number(STEPS)), drained)


def main() -> None:
    report = Report("chain: 1,000 steps, one after another, steps/s")
    report.figures = medians(
        rounds(),
        {
            "raw (a)": lambda place: raw.drain(place, STEPS, 1, chain=True),
            "flowkit": flowkit,
            "flowkit's statements alone": statements_alone,
        },
    )
    report.bar("flowkit / raw (a)", report.figures["flowkit"] / report.figures["raw (a)"], 1.0)
    alone = report.figures["flowkit's statements alone"] / report.figures["raw (a)"]
    report.figures["statements alone / raw (a)"] = alone
    report.tell()


if __name__ == "__main__":
    main()
