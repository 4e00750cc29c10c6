"""Bugs to plant: each takes a guard of the engine away, in the test process only, for the simulation to find.

A plant names a function and a few words of it to replace; where they are not there exactly once it refuses, so that
none of them rots when the engine is written anew.
"""

from __future__ import annotations
import __future__

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import attrs

from tests.simulation.choices import EVERYTHING
from tests.simulation.play import attempt
from tests.simulation.stage import Stage


@attrs.frozen
class Cut:
    """One replacement: in which function, by module and qualified name, which words, and by what."""

    place: str
    old: str
    new: str


@attrs.frozen
class Plant:
    """A bug, and which sentence of the guarantees it breaks."""

    name: str
    breaks: str
    cuts: tuple[Cut, ...]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug in the engine meanwhile; a store must be opened inside to have it in its statements."""
        undo = []
        try:
            for place in dict.fromkeys(cut.place for cut in self.cuts):
                undo.append(_plant(place, [cut for cut in self.cuts if cut.place == place]))
            yield
        finally:
            for call in reversed(undo):
                call()


def _plant(place: str, cuts: list[Cut]) -> Any:
    module_name, _, qualname = place.partition(":")
    module = importlib.import_module(f"flowkit.{module_name}")
    owner: Any = module
    *classes, name = qualname.split(".")
    for one in classes:
        owner = getattr(owner, one)
    source = _source_of(module, qualname)
    for cut in cuts:
        if source.count(cut.old) != 1:
            raise AssertionError(f"{place} has {source.count(cut.old)} places that read {cut.old!r}, not one")
        source = source.replace(cut.old, cut.new)
    scope: dict[str, Any] = {}
    code = compile(source, place, "exec", __future__.annotations.compiler_flag, True)
    exec(code, vars(module), scope)
    made, before = scope[name], inspect.getattr_static(owner, name)
    if inspect.isfunction(before) and inspect.isfunction(made):
        # In place, for other modules may have imported the function itself.
        kept, before.__code__ = before.__code__, made.__code__
        return lambda: setattr(before, "__code__", kept)
    if isinstance(made, cached_property):
        made.__set_name__(owner, name)
    setattr(owner, name, made)
    return lambda: setattr(owner, name, before)


def _source_of(module: Any, qualname: str) -> str:
    lines = inspect.getsource(module).splitlines(keepends=True)
    node: Any = ast.parse("".join(lines))
    for name in qualname.split("."):
        node = next(one for one in node.body if getattr(one, "name", None) == name)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return textwrap.dedent("".join(lines[first - 1 : node.end_lineno]))


def plant(name: str, breaks: str, *cuts: tuple[str, str, str]) -> Plant:
    """Make a plant of a name, the guarantee it breaks, and its replacements."""
    return Plant(name, breaks, tuple(Cut(*cut) for cut in cuts))


def find(bug: Plant, limit: int) -> tuple[int, str] | None:
    """Play seeds, at most *limit*, until one shows the bug; returns the seed and what was broken."""
    with bug.planted():
        stage = Stage()
        try:
            for seed in range(limit):
                broken = attempt(stage, seed, EVERYTHING)
                if broken is not None:
                    return seed, broken
        finally:
            stage.close()
    return None


_PROOF = "is_held(self.db.dialect, s, b)"
_NO_PROOF = '(s.key == b.c.key) & (s.status == "running")'
_OUTCOMES, _LEASES, _RECLAIM = "store.outcomes:Outcomes", "store.leases:Leases", "store.reclaim:Reclaim"
_SPREAD, _REVIVAL, _COMMANDS = "store.propagate:Propagation", "store.revive:Revival", "store.commands:Commands"

# Where the engine locks a door twice (epoch and token; the guard of a move and what was read in the same
# transaction), taking one lock away lets nobody in: such a plant takes both.
PLANTS: tuple[Plant, ...] = (
    plant(
        "a settlement proves nothing",
        "T6, G10: the proof of the lease",
        (f"{_OUTCOMES}._move", _PROOF, _NO_PROOF),
        (f"{_OUTCOMES}._held", _PROOF, _NO_PROOF),
    ),
    plant(
        "a settlement need not find its step running",
        "T6: status, epoch and token",
        (f"{_OUTCOMES}._move", _PROOF, "(s.key == b.c.key)"),
    ),
    plant(
        "outcomes land in a run that is being canceled",
        "T6, T13, G13: the run's status",
        ("store.batch:by_move", "DISCARD if run.status is RunStatus.CANCELING else ", ""),
        (f"{_OUTCOMES}._move", "mine & (run == run_status)", "mine & (run != 'nothing')"),
    ),
    plant(
        "children of an attempt that lost its lease",
        "G7, 2.4 step 2",
        (f"{_OUTCOMES}._prepare", "if item.identity in held]", "if item.identity[0]]"),
        (f"{_OUTCOMES}._prepare", "held[item.identity]", "held.get(item.identity, 0)"),
    ),
    plant(
        "what a lost transaction leased is attempted all the same",
        "T4: what runs was leased",
        ("scheduler.owed:Owed._ask", "self._engine.leases.still_held(self._doubtful[0])", "self._doubtful[0]"),
    ),
    plant(
        "an attempt is not charged when it is leased",
        "T4, G5",
        (f"{_LEASES}._leased", "s.attempt: s.attempt + 1", "s.attempt: s.attempt"),
    ),
    plant("an epoch comes again", "T4, I16", (f"{_LEASES}._leased", "s.epoch: s.epoch + 1", "s.epoch: s.epoch + 0")),
    plant(
        "a step is leased while it waits for more than what ended just now",
        "G3, T2: deps_left = 0",
        ("store.waiters:Waiter.is_due", "self.is_ready and ", ""),
        (f"{_LEASES}._take_waiting", " & (s.deps_left == b.c.met)", ""),
        (f"{_LEASES}._take_waiting", "s.deps_left: s.deps_left - b.c.met", "s.deps_left: 0"),
    ),
    plant(
        "a step that is promoted and leased at once forgets its delay",
        "T2: not_before = now + delay",
        ("store.waiters:Waiter.is_due", " and not self.delay", ""),
        (f"{_LEASES}._take_waiting", " & (s.delay == 0)", ""),
    ),
    plant(
        "a step is leased whatever its status",
        "T4: status = 'ready'",
        (f"{_LEASES}._take", '(s.status == "ready") & s.delayed_until.is_null()', "(s.key > 0)"),
        ("store.lanes:Lanes._is_ready", '(s.status == "ready") & s.delayed_until.is_null() & ', ""),
    ),
    plant(
        "a heartbeat extends nothing",
        "T5: expiry = now + lease",
        (f"{_LEASES}._extend", 's.expires_at: param("expires_at")', "s.expires_at: s.expires_at"),
    ),
    plant(
        "a heartbeat extends whoever holds the step now",
        "T5: epoch and token",
        (f"{_LEASES}._extend", _PROOF, _NO_PROOF),
    ),
    plant(
        "a heartbeat takes a later lease of its own worker for the one it lost",
        "G10: a worker learns that its lease is lost",
        ("runtime.keeper:_lease_of", "attempt.leased.lease.epoch", "0"),
        (f"{_LEASES}.extend", "{(key, epoch): status", "{(key, 0): status"),
    ),
    plant(
        "an executor is not told that its run is canceled",
        "G13: told within one heartbeat",
        ("runtime.keeper:Keeper._extend", 'status == "canceling"', 'status == "canceled"'),
    ),
    plant(
        "leases are taken back that have not expired",
        "T9: expires <= now, asked again",
        (f"{_RECLAIM}._expired", ' & (s.expires_at <= param("now"))', ""),
        (f"{_RECLAIM}._take_back", ' & (s.expires_at <= param("now"))', ""),
    ),
    plant(
        "a lost worker is never counted out",
        "T10, G5: the budget in reclaim",
        ("store.reclaim:_Expired.move", "RECLAIM if self.attempt < self.max_attempts else RECLAIM_SPENT", "RECLAIM"),
    ),
    plant(
        "a lost worker costs one attempt too many",
        "T9: attempt < max_attempts",
        ("store.reclaim:_Expired.move", "self.attempt < self.max_attempts", "self.attempt + 1 < self.max_attempts"),
    ),
    plant(
        "an expired lease in a canceling run becomes ready again",
        "T13: lease expired in a canceling run",
        ("store.reclaim:_Expired.move", 'self.run_status == "canceling"', 'self.run_status == "nothing"'),
    ),
    plant(
        "a lost attempt is repeated without its back-off",
        "T9: backoff applies",
        ("store.reclaim:_again_at", "now + retry_from(step.retry).delay_after(step.attempt)", "now"),
    ),
    plant(
        "expired leases are taken back before the inbox is settled",
        "2.4: settles its inbox, then reclaims",
        ("scheduler.opening:Opening.__iter__", "yield from batch.first", "yield from ()"),
        (
            "scheduler.cycle:Cycle._turn",
            "if batch is not None:",
            "self._sweeper.sweep(tx, tally)\n        if batch is not None:",
        ),
    ),
    plant(
        "retries beyond the policy",
        "T7: attempt < max_attempts",
        ("store.batch:item_of", "leased.attempt >= leased.retry.max_attempts", "leased.attempt > 99"),
        ("model.outcome:decide", "or attempt >= retry.max_attempts", ""),
    ),
    plant(
        "a retry does not wait for its delay",
        "T7, G12: not_before",
        (f"{_OUTCOMES}._retry", "Case(None, [(at > now, at)], None)", "None"),
    ),
    plant(
        "a release is charged", "T11", (f"{_OUTCOMES}._release", "s.attempt: s.attempt - 1", "s.attempt: s.attempt")
    ),
    plant(
        "what is delayed comes due at once",
        "T4, G12",
        (f"{_RECLAIM}._come_due", ' & (s.delayed_until <= param("now"))', " & s.delayed_until.is_null(False)"),
    ),
    plant(
        "a promoted step forgets its delay",
        "T2: not_before = now + delay",
        (f"{_SPREAD}._count_down", "Case(None, [(met & (s.delay > 0), now + s.delay)], None)", "None"),
    ),
    plant(
        "one transaction counts a waiter down by one only",
        "2.4 step 4: by the rows really changed",
        (f"{_SPREAD}._count_down", "s.deps_left: s.deps_left - b.c.met", "s.deps_left: s.deps_left - 1"),
        (f"{_SPREAD}._count_down", "s.deps_left == b.c.met", "s.deps_left == 1"),
    ),
    plant(
        "what is owed to waiters twice is written twice",
        "2.4 step 4: by the rows really changed",
        (f"{_SPREAD}._meet", "if not tally.waiters.are_owed:", "if True:"),
        (f"{_SPREAD}._promote", "tally.waiters.take()", "[(w.key, w.met) for w in tally.waiters._all.values()]"),
    ),
    plant(
        "a gate counts the members of one transaction as one",
        "2.1: gates.left",
        (f"{_SPREAD}._count_down_gates", "g.left - b.c.ended", "g.left - 1"),
    ),
    plant(
        "a gate does not count failures",
        "2.1: gates.failed",
        (f"{_SPREAD}._count_down_gates", "g.failed + b.c.failed", "g.failed + 0"),
    ),
    plant(
        "a gate's failure reaches nobody",
        "T3: required edges and gates",
        (f"{_SPREAD}._look_through_gates", "level.dead.setdefault(waiter, culprits[gate])", "pass"),
    ),
    plant(
        "a dead requirement counts as met",
        "G3, T3",
        (f"{_SPREAD}._look", "elif succeeded or role == OPTIONAL:", "elif role in (REQUIRED, OPTIONAL):"),
    ),
    plant(
        "the cascade ends after one level",
        "T3: recursive",
        (
            f"{_SPREAD}.spread",
            "ended = self._cancel_dead(tx, level.dead, tally) if level.dead else {}",
            "ended = {}\n        level.dead and self._cancel_dead(tx, level.dead, tally)",
        ),
    ),
    plant(
        "a step comes back in spite of a second dead dependency",
        "T14, 2.6: nothing it requires is dead after the move",
        (f"{_REVIVAL}.follow", "if culprit is None:", "if key:"),
    ),
    plant(
        "what stays dead keeps a reason that is not true any more",
        "2.6: re-pointed",
        (f"{_REVIVAL}._repoint", '(s.status == "canceled")', '(s.status == "failed")'),
    ),
    plant(
        "a retry does not count the gates again",
        "T14: gates recomputed",
        (f"{_REVIVAL}.write", "self.recount_gates(", "(lambda *_: None)("),
    ),
    plant(
        "a retry does not count again what still waits",
        "T14: deps recomputed",
        (f"{_REVIVAL}._recount", "s.deps_left: b.c.left", "s.deps_left: s.deps_left"),
    ),
    plant(
        "a retry keeps the old generation",
        "T14, G12: generation + 1",
        (f"{_REVIVAL}._revive", "s.generation: s.generation + 1", "s.generation: s.generation"),
    ),
    plant(
        "a retry keeps the spent attempts",
        "T14, G12: attempt = 0",
        (f"{_REVIVAL}._revive", "s.attempt: 0", "s.attempt: s.attempt"),
    ),
    plant(
        "a step may be retried while its run is being canceled",
        "T14, G13: run not canceling",
        (f"{_COMMANDS}.retry_step", "run.status is RunStatus.CANCELING", "run.status is None"),
    ),
    plant(
        "a step may be retried though what it requires is dead",
        "T14: it names that one",
        (f"{_COMMANDS}._bring_back", "if culprit is not None:", "if culprit == 0:"),
    ),
    plant(
        "a forced retry leaves the old attempt its right",
        "T15: token cleared now",
        (f"{_COMMANDS}._fence", "s.status: FENCE.target.value, s.generation", "s.generation"),
        (f"{_COMMANDS}._fence", "{**fresh, **cleared, **times}", "{**fresh, **times}"),
    ),
    plant(
        "cancel leaves what is ready alone",
        "T12, G13",
        (f"{_COMMANDS}._cancel_open", "s.status.in_(sources)", 's.status.in_(["pending"])'),
    ),
    plant(
        "a run that has ended can be canceled",
        "2.7: too late",
        ("store.runs:Runs._cancel", 'r.status.in_(["pending", "running"])', 'r.status.not_in(["canceled"])'),
    ),
    plant(
        "a canceled run ends as if it had not been",
        "2.6: a canceling run is canceled",
        ("store.runs:_end_of", "run.status is RunStatus.CANCELING", "False"),
    ),
    plant(
        "a dedup key is not heeded",
        "2.5: at most one step per run, kind and key",
        ("store.graphs:Graphs._place", "if names else {}", "if not names else {}"),
    ),
    plant(
        "an id that is taken is added again",
        "2.5: emit_conflict",
        ("store.graphs:Graphs._known", "if taken:", "if taken in ():"),
    ),
    plant(
        "a child waits for ever for what had ended before",
        "2.5: no child can be born unpromotable",
        (
            "store.births:_condition",
            "return not status.is_ended, status in DEAD_STEP",
            "return True, status in DEAD_STEP",
        ),
    ),
    plant(
        "a child is born in spite of a dead requirement",
        "2.5: inserted as canceled",
        ("store.births:_condition", "status.is_ended, status in DEAD_STEP", "status.is_ended, False"),
    ),
    plant(
        "a failed step stays counted as open",
        "G4, I13: open_steps",
        ("store.outcomes:_count", "int(move.target.is_ended)", "int(move is SUCCEED)"),
    ),
    plant(
        "an allowed failure fails the run",
        "2.6: allow_failure",
        ("store.outcomes:_count", "int(move is FAIL and not allowed)", "int(move is FAIL)"),
    ),
    plant(
        "an ending is not numbered in the history",
        "NL7, I26: no gap",
        ("store.runs:Runs.apply", "row[-1] + 1", "row[-1]"),
    ),
    plant(
        "an outcome that was committed is told to be lost",
        "G11: already committed",
        ("store.closing:Closing.verdict", "if same:", "if same is None:"),
    ),
    plant(
        "an outcome that came too late is told to be committed",
        "G10, 2.7: LeaseLost",
        (
            "store.closing:Closing.verdict",
            "same = closed is not None and _stands_for(outcome, *closed)",
            "same = True",
        ),
    ),
    plant(
        "a step that is fenced leaves no trace of its attempt",
        "T15: attempts row fenced",
        (f"{_COMMANDS}._fence_step", "self._closing.insert(", "(lambda *_: None)("),
    ),
    plant(
        "a clock that is set back mints tokens when it recovers",
        "G16, 2.8",
        ("model.limits:TokenBucket.refill", "if elapsed < -BACKWARD_TOLERANCE:", "if elapsed < 0:"),
        (
            "model.limits:TokenBucket.refill",
            "return attrs.evolve(self, refilled_at=now)",
            "return TokenBucket.full(self.limit, now)",
        ),
        (f"{_RECLAIM}.keep_time", "tx.run(self._rebase_buckets, now=now, limit=limit)", "pass"),
    ),
    plant(
        "tokens are never spent",
        "G16",
        ("scheduler.cycle:Cycle._spend", "self._engine.queues.spend(tx, spent)", "pass"),
    ),
    plant(
        "a queue's slots are not counted",
        "G15",
        ("scheduler.choose:Line.room", "self.queue.max_workers is not None", "self.queue.max_workers == 0"),
    ),
    plant(
        "one more runs at once than a queue allows",
        "G15",
        (
            "scheduler.choose:Line.room",
            "self.queue.max_workers - self.in_flight",
            "self.queue.max_workers + 1 - self.in_flight",
        ),
    ),
    plant(
        "a paused queue is not obeyed",
        "G14",
        ("scheduler.choose:Line.room", "if self.queue.paused:", "if self.queue is None:"),
        ("store.glances:Glance.served", " if not self.queues[lane.queue].paused", ""),
    ),
    plant(
        "a worker leases kinds that its code does not know",
        "2.3: only kinds this worker has registered",
        ("store.lanes:Lanes._asking", "if lane.kind in kinds", "if lane.kind"),
    ),
    plant(
        "lanes of a transaction that was rolled back are remembered",
        "G1: or none do",
        ("store.lanes:Lanes._read", "if not tx.writes:", "if True:"),
    ),
    plant(
        "leases of a clock that was set back last as long as it was ahead",
        "2.7: wall clock steps back",
        (f"{_RECLAIM}.keep_time", "tx.run(self._rebase_leases, now=now, limit=limit)", "pass"),
    ),
    plant(
        "delays of a clock that was set back last as long as it was ahead",
        "2.7: wall clock steps back",
        (f"{_RECLAIM}.keep_time", "tx.run(self._rebase_delays, now=now, limit=limit)", "pass"),
    ),
)
"""Every bug that the simulation must find; ``make prove`` plants all of them."""
