"""Graphs of every shape, ended in every way: after each pass the store is sound, whatever was leased in it."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from flowkit.clock import micros
from flowkit.errors import FlowkitError
from flowkit.model.outcome import Outcome
from flowkit.model.plan import Edge, Plan
from flowkit.model.retry import Retry
from flowkit.model.step import LeasedStep, Settlement
from flowkit.store.check import check
from tests.store.flow import Flow, again, failure, step, success
from tests.store.story import guarded, steps_of

SEEDS = 30
PASSES = 60
AT_ONCE = Retry(3, backoff="fixed", initial=0, maximum=0)


def graph(draw: random.Random, count: int, prefix: str, stored: list[str]) -> Plan:
    """Make a plan of steps, gates, and edges of both sorts, some of them to steps that are stored."""
    steps = tuple(
        step(
            f"{prefix}{place}",
            kind=draw.choice(["k1", "k2"]),
            delay=micros(draw.choice([0, 0, 0, 5])),
            priority=draw.choice([0, 0, 1]),
            retry=AT_ONCE,
            allow_failure=draw.random() < 0.3,
        )
        for place in range(count)
    )
    members = {count + gate: draw.sample(range(count), draw.randint(1, min(4, count))) for gate in range(2)}
    pairs: dict[tuple[int, int | str], bool] = {(gate, one): True for gate, listed in members.items() for one in listed}
    for waiter in range(count):
        gates = [gate for gate, listed in members.items() if waiter > max(listed)]
        targets = [*range(waiter), *gates, *stored]
        pairs |= {(waiter, target): draw.random() < 0.6 for target in targets if draw.random() < 0.27}
    edges = tuple(Edge(waiter, target, required) for (waiter, target), required in pairs.items())
    return Plan(steps, tuple(f"{prefix}g{gate}" for gate in members), edges)


class Play:
    """One store with two runs, whose attempts end as is drawn."""

    def __init__(self, flow: Flow, seed: int) -> None:
        self.flow, self.draw = flow, random.Random(seed)
        self.runs = [flow.start(graph(self.draw, self.draw.randint(4, 10), "s", [])) for _ in range(2)]
        self.held: list[LeasedStep] = []
        self.emitted = 0

    def outcome(self, leased: LeasedStep) -> Outcome:
        """Draw how an attempt ends."""
        drawn = self.draw.random()
        if drawn < 0.08 and self.emitted < 3:
            self.emitted += 1
            stored = list(steps_of(self.flow, leased.run_id))[:6]
            return success(1, emission=graph(self.draw, 3, f"e{self.emitted}-", stored))
        if drawn < 0.6:
            return success(self.draw.choice([None, 1]))
        return failure() if drawn < 0.9 else again()

    def go_on(self) -> None:
        """Make a pass that settles some, and then something that people or time do."""
        flow, draw = self.flow, self.draw
        draw.shuffle(self.held)
        ended = [self.held.pop() for _ in range(min(len(self.held), draw.randint(0, 4)))]
        inbox = [Settlement(one, self.outcome(one), flow.clock.now()) for one in ended]
        kinds = ["k1", "k2"] if draw.random() < 0.9 else ["k1"]
        self.held += flow.turn(inbox, slots=draw.choice([0, 1, 2, 6]), kinds=kinds).leased
        flow.clock.advance(40 if draw.random() < 0.04 else draw.choice([0, 0, 1, 3]))
        with suppress(FlowkitError):
            if draw.random() < 0.03:
                flow.cancel(self.runs[0])
            elif draw.random() < 0.1:
                flow.retry_run(draw.choice(self.runs))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_after_every_pass_the_store_is_sound(flow: Flow, seed: int) -> None:
    with guarded(flow.engine):
        play = Play(flow, seed)
        for number in range(PASSES):
            play.go_on()
            with flow.engine.read() as tx:
                assert check(tx) == [], f"after pass {number}"
