"""Plays seeds: ``python -m tests.simulation 17`` plays one and shows its trace, ``0-999`` plays many."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.choices import FAULTS, Cuts
from tests.simulation.play import Tally, play, played
from tests.simulation.stage import Stage


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", help="one seed, or FIRST-LAST")
    parser.add_argument("--without", default="", help=f"kinds of faults to leave out: {', '.join(FAULTS)}")
    parser.add_argument("--skip", default="", help="numbers of single faults to leave out")
    parser.add_argument("--runs", type=int, help="start at most so many runs")
    parser.add_argument("--trace", action="store_true", help="show the trace of a seed that passes, too")
    parser.add_argument("--watch", action="store_true", help="ask every invariant after every commit")
    given = parser.parse_args(arguments)
    skip = frozenset(int(number) for number in given.skip.split(",") if number)
    cuts = Cuts(frozenset(kind for kind in given.without.split(",") if kind), skip, given.runs)
    first, _, last = given.seeds.partition("-")
    stage, tally, began = Stage(), Tally(), time.monotonic()
    for seed in range(int(first), int(last or first) + 1):
        found = play(stage, seed, cuts, tally, watchful=True if given.watch else None)
        if found is not None or (given.trace and not last):
            print("\n".join(played(stage).trace))
        if found is not None:
            print(found)
            return 1
    print(f"{tally} in {time.monotonic() - began:.1f} s; the last hash is {played(stage).fingerprint()[:16]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
