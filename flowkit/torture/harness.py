"""Tortures a user's own packages in a scratch store and says what broke: invariants, or results that differ."""

from __future__ import annotations

import math
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import attrs

from flowkit.clock import SystemClock
from flowkit.runtime.runtime import Runtime
from flowkit.torture.child import SLOTS, open_store
from flowkit.torture.facts import RunFacts, differences, told_of
from flowkit.torture.faults import Fault, faults
from flowkit.torture.fleet import Death
from flowkit.torture.nursery import Nursery
from flowkit.torture.rounds import Played, Round, Setting, Tally

ROUND_SECONDS = 3.0
"""How much work a round should have for its workers, undisturbed."""
MOST_COPIES = 100
LEAST_PACE = 0.15

Kind = Literal["invariant", "damage", "undisturbed", "differs", "stuck", "died"]


@attrs.frozen
class Broken:
    """Something that broke.

    Attributes:
        kind: ``invariant`` and ``damage`` are defects of flowkit. ``undisturbed``: it breaks without any fault.
            ``differs``: a run did not come to what it comes to undisturbed. ``stuck``: it did not end. ``died``: a
            worker process ended by itself.
        text: what is wrong.
        run_id, step_id: where, if it is about one.
        count: in how many runs.
    """

    kind: Kind
    text: str
    run_id: str | None = None
    step_id: str | None = None
    count: int = 1


@attrs.frozen
class Report:
    """What was done, and what broke.

    Attributes:
        seed: decides the faults.
        copies: how often each package was started in a round.
        spared: runs that are not judged: faults used up the attempts of their steps.
        retries: how often a run was retried because of that.
        scratch: the directory that is left, if something broke.
    """

    seed: int
    copies: int
    rounds: int
    kills: int
    pauses: int
    clocks: int
    locks: int
    runs: int
    steps: int
    lost: int
    spared: int
    retries: int
    seconds: float
    broken: tuple[Broken, ...]
    scratch: str | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing broke."""
        return not self.broken


def torture(
    setting: Setting, *, kills: int = 20, seconds: float = 120.0, seed: int | None = None, copies: int | None = None
) -> Report:
    """Run the cases undisturbed, then under faults again and again, and compare.

    Args:
        setting: what is run, and how.
        kills: how many workers are killed; the other faults come along.
        seconds: no round begins later than this.
        seed: decides the faults; None draws one.
        copies: how often each case is started in a round; None: as often as gives some seconds of work.

    Raises:
        ConfigError: this system cannot do it, or the modules cannot be imported by another process.
        FlowkitError: a case cannot be started.
    """
    scratch = Path(tempfile.mkdtemp(prefix="flowkit-torture-"))
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    nursery = Nursery(setting.modules)
    try:
        run = _Torture(nursery, setting, scratch, chosen, kills, seconds)
        run.play(copies)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    finally:
        nursery.close()
    report = run.report()
    if report.is_sound:
        shutil.rmtree(scratch, ignore_errors=True)
    return report


@attrs.define(eq=False)
class _Torture:
    nursery: Nursery
    setting: Setting
    scratch: Path
    seed: int
    kills: int
    seconds: float
    tally: Tally = attrs.field(factory=Tally)
    broken: dict[tuple[object, ...], Broken] = attrs.field(factory=dict)
    played: list[Played] = attrs.field(factory=list)
    _clock: SystemClock = attrs.field(factory=SystemClock)
    _began: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self._clock.monotonic()

    def play(self, copies: int | None) -> None:
        """Play the undisturbed rounds and then those under faults; ends early where nothing could be compared."""
        trial = self._undisturbed("trial", attrs.evolve(self.setting, copies=1))
        if self.broken:
            self.setting = attrs.evolve(self.setting, copies=1)
            return
        if copies is None:
            wanted = ROUND_SECONDS * SLOTS * self.setting.workers
            copies = min(MOST_COPIES, math.ceil(wanted / max(trial.work, 0.001)))
        self.setting = attrs.evolve(self.setting, copies=copies)
        calm = self._undisturbed("calm", self.setting)
        self._compare("undisturbed", trial.runs, calm, self.scratch / "calm")
        if self.broken:
            return
        drawn, pace = faults(self.seed), max(LEAST_PACE, calm.longest / 2)
        while self.tally.kill < self.kills and (not self.played or self._elapsed() < self.seconds):
            self._disturbed(calm.runs, self._until_killed(drawn), pace)

    def _until_killed(self, drawn: Iterator[Fault]) -> Iterator[Fault]:
        while self.tally.kill < self.kills:
            yield next(drawn)

    def _elapsed(self) -> float:
        return self._clock.monotonic() - self._began

    def _undisturbed(self, name: str, setting: Setting) -> Played:
        played = Round(self.nursery, self.scratch / name, setting).play()
        self._common(played)
        for run_id, step_id, why in played.stuck:
            self._add(Broken("undisturbed", f"the step does not end: {why}", run_id, step_id))
        return played

    def _disturbed(self, calm: dict[str, RunFacts], drawn: Iterator[Fault], pace: float) -> None:
        place = self.scratch / f"round-{len(self.played) + 1}"
        played = Round(self.nursery, place, self.setting, calm).play(drawn, pace, self.tally)
        before = len(self.broken)
        self._common(played)
        with open_store(place, entry_points=False) as runtime:
            for run_id, step_id, why in played.stuck:
                told = told_of(runtime, run_id, step_id)
                self._add(Broken("stuck", f"the step does not end ({told}): {why}", run_id, step_id))
        self._compare("differs", calm, played, place)
        self.played.append(played)
        if len(self.broken) == before:
            shutil.rmtree(place, ignore_errors=True)

    def _common(self, played: Played) -> None:
        for line in played.damage:
            self._add(Broken("damage", line))
        for finding in played.broken:
            self._add(Broken("invariant", str(finding)))
        for death in played.deaths:
            self._add(Broken("died", _told(death)))

    def _compare(self, kind: Kind, calm: dict[str, RunFacts], played: Played, place: Path) -> None:
        with open_store(place, entry_points=False) as runtime:
            for run_id, before in calm.items():
                if run_id in played.runs and run_id not in played.spared:
                    self._differences(kind, runtime, run_id, before, played.runs[run_id])

    def _differences(self, kind: Kind, runtime: Runtime, run_id: str, calm: RunFacts, found: RunFacts) -> None:
        told = list(differences(calm, found))
        # What a step hands on makes those after it differ too: the first one is the news, or the run where it is all.
        for one in [one for one in told if one.step_id is not None][:1] or told[:1]:
            step_id = one.step_id
            text = one.text
            if step_id is not None and step_id in found.steps:
                text = f"{text} ({told_of(runtime, run_id, step_id)})"
            self._add(Broken(kind, text, run_id, step_id))

    def _add(self, broken: Broken) -> None:
        # The same step of another run, or of another round, is the same news.
        case = (broken.run_id or "").rpartition("-")[0]
        text = broken.text if broken.step_id is None else ""
        known = (broken.kind, case, broken.step_id, text)
        before = self.broken.get(known)
        self.broken[known] = broken if before is None else attrs.evolve(before, count=before.count + 1)

    def report(self) -> Report:
        """Return what was done and what broke."""
        tally, played = self.tally, self.played
        return Report(
            seed=self.seed,
            copies=self.setting.copies,
            rounds=len(played),
            kills=tally.kill,
            pauses=tally.pause,
            clocks=tally.clock,
            locks=tally.lock,
            runs=len(self.setting.run_ids()) * len(played),
            steps=sum(one.steps for one in played),
            lost=sum(one.lost for one in played),
            spared=sum(len(one.spared) for one in played),
            retries=sum(one.retries for one in played),
            seconds=self._elapsed(),
            broken=tuple(self.broken.values()),
            scratch=str(self.scratch) if self.broken else None,
        )


def _told(death: Death) -> str:
    tail = f":\n{death.tail}" if death.tail else ""
    return f"{death.name} ended by itself with exit code {death.code}{tail}"
