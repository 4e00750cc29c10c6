"""Where a seed becomes decisions: one stream of randomness for each kind of thing, and the faults that are drawn."""

from __future__ import annotations

import random
from collections import Counter

import attrs

FAULTS = (
    "crash",  # a process dies at a named moment, nothing is told
    "pause",  # a process stands still, up to five leases, perhaps between two of its own statements
    "unknown",  # a commit is made, its acknowledgement is lost
    "lost",  # the connection dies at the commit, which is not made
    "busy",  # another connection holds the write lock for too long
    "down",  # the store cannot be reached for a while
    "full",  # no space is left
    "statement",  # a statement of a transaction raises
    "step",  # an administrator sets the machine's clock, either way
    "drift",  # clocks run at other speeds and are seconds apart from the start
    "apart",  # a process is given a clock of its own that is set alone: safe all the same, only not in time
    "artifact",  # the disk under the artifact store fails between write, fsync and rename
    "executor",  # executors raise, hang, ignore cancellation, return rubbish
    "operator",  # cancel, retry, forced retry, pauses of queues
    "older",  # workers whose code serves fewer kinds
    "stop",  # a worker is told to stop, gracefully, and comes back
)
"""Everything that can be left out of a simulation by ``--without``."""


@attrs.frozen
class Cuts:
    """What is left out of a seed's world, so that a failure can be told with less; nothing, to begin with.

    Attributes:
        without: kinds of faults that never happen.
        skip: single faults that do not happen, by their number in the order of the seed.
        runs: how many runs are started at most.
    """

    without: frozenset[str] = frozenset()
    skip: frozenset[int] = frozenset()
    runs: int | None = None

    def arguments(self) -> str:
        """Return the same as arguments of the command line."""
        parts = [f"--runs {self.runs}"] if self.runs is not None else []
        parts += [f"--without {','.join(sorted(self.without))}"] if self.without else []
        parts += [f"--skip {','.join(map(str, sorted(self.skip)))}"] if self.skip else []
        return "".join(f" {part}" for part in parts)


EVERYTHING = Cuts()
"""The whole world of a seed."""


class Choices:
    """The streams of one seed; leaving out one kind of thing does not change what is drawn for another."""

    def __init__(self, seed: int, cuts: Cuts) -> None:
        self.seed = seed
        self.cuts = cuts
        self._streams: dict[str, random.Random] = {}

    def of(self, name: str) -> random.Random:
        """Return the stream of this name; seeded by text, which no hash seed changes."""
        if name not in self._streams:
            self._streams[name] = random.Random(f"{self.seed}/{name}")
        return self._streams[name]


class Faults:
    """Decides, each time something could go wrong, whether it does; and counts honestly what did."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self.injected: Counter[str] = Counter()
        self.drawn: list[tuple[int, str]] = []
        self.on = True
        profile = choices.of("profile")
        # Few worlds have everything at once: most have a few kinds of trouble, some of those a lot of it.
        self._rate = {kind: profile.choice((0, 0, 1, 1, 3)) for kind in FAULTS}
        if profile.random() < 0.05:
            self._rate = dict.fromkeys(FAULTS, 0)

    def has(self, kind: str) -> bool:
        """Whether this world has this kind of trouble at all."""
        return bool(self._rate[kind]) and kind not in self._choices.cuts.without

    def strikes(self, kind: str, chance: float) -> bool:
        """Draw whether a fault of this kind happens now."""
        if not (self.on and self._rate[kind]):
            return False
        if self._choices.of(f"fault {kind}").random() >= chance * self._rate[kind]:
            return False
        number = len(self.drawn)
        self.drawn.append((number, kind))
        if number in self._choices.cuts.skip or kind in self._choices.cuts.without:
            return False
        self.injected[kind] += 1
        return True
