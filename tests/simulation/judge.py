"""The judge: plays every commit on a model of its own, and fails the world at the first one that nothing explains."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from flowkit.clock import SECOND, Micros, micros
from flowkit.model.outcome import Failed, Outcome, Released, Retried, Succeeded
from flowkit.model.step import LeasedStep, Settlement
from flowkit.runtime.attempts import Attempt
from flowkit.store.closing import Verdict
from tests.simulation.model import DEAD, ENDED, RunModel, StepModel
from tests.simulation.queues import QueueModel
from tests.simulation.reference import ending, nodes_of, value_of

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.world import World

LEASE: Micros = 30 * SECOND
LONGEST_SILENCE = 300.0
"""Seconds without any move after which something is stuck: the longest attempt, back-off and delay, and two leases."""

SETTLED = frozenset({"step_succeeded", "step_retried", "step_failed", "step_released", "step_discarded"})
TAKEN = frozenset({"step_reclaimed", "step_lost", "step_fenced", "step_discarded"})

_STEPS = """SELECT s.key, s.run, s.id, s.status, s.reason, s.generation, s.attempt, s.epoch, s.worker, s.expires_at,
s.delayed_until, s.max_attempts, l.queue, l.kind FROM steps s JOIN lanes l ON l.id = s.lane"""
_RUNS = "SELECT key, id, status, events, open_steps, failed_steps, canceled_by_run FROM runs ORDER BY key"
_HISTORY = "SELECT first_seq, count, at, worker, body FROM history WHERE run = ? AND first_seq >= ? ORDER BY first_seq"

Identity = tuple[str, str, int]
"""Run, step and epoch of an attempt."""


@attrs.frozen
class Row:
    """A step as it is stored."""

    key: int
    run: int
    id: str
    status: str
    reason: str | None
    generation: int
    attempt: int
    epoch: int
    worker: str | None
    expires_at: Micros | None
    delayed_until: Micros | None
    max_attempts: int
    queue: str
    kind: str


@attrs.frozen
class Commit:
    """One transaction: who made it, and when by its own clock."""

    host: Host
    at: Micros
    worker: str | None


class Judge:
    """Knows what was asked, offered and answered; reads what is stored only to compare."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runs: dict[str, RunModel] = {}
        self.rows: dict[int, Row] = {}
        self.queues = QueueModel(world)
        self.offers: dict[Identity, list[Outcome]] = {}
        self.closed: dict[Identity, str] = {}
        self.started: dict[Identity, int] = {}
        self.expected: dict[Identity, set[bytes]] = {}
        self.clocks_are_honest = self.clocks_agree = True
        self.calm_since: Micros = 0
        self.moved_at: Micros = 0

    # What the world says happened.

    def starts(self, leased: LeasedStep) -> None:
        """An executor is called."""
        identity = _identity(leased)
        self.started[identity] = self.started.get(identity, 0) + 1
        self._note(f"attempt {identity} begins")
        step = self._find(leased.run_id, leased.id)
        self._require(step is not None and step.epoch >= identity[2], f"{identity} runs and was never leased")
        self._expect(self.runs[leased.run_id], leased.id, leased.lease.epoch)

    def _expect(self, run: RunModel, step_id: str, epoch: int) -> None:
        # What a step waits for optionally may be brought back by an operator after the step was leased: then what an
        # attempt gets is what stood when it was leased, or when it was read a moment later.
        value = value_of(run.id, run.by_id[step_id].node, run.value)
        self.expected.setdefault((run.id, step_id, epoch), set()).add(str(value).encode())

    def ends(self, leased: LeasedStep, outcome: Outcome, stopped: str | None) -> None:
        """An executor has ended; what came of it must be what its input says."""
        identity, code = _identity(leased), code_of(outcome)
        self._note(f"attempt {identity} ends: {code or 'well'}{f', told to stop: {stopped}' if stopped else ''}")
        step = self._find(leased.run_id, leased.id)
        assert step is not None
        expected = ending(step.node, leased.generation, leased.attempt)
        if code is not None and stopped is None:
            self.world.faults.injected["executor"] += 1
        excused = stopped is not None or (code == "executor_error" and {"reads", "stored"} & step.node.do.keys())
        excused = excused or (code == "emit_conflict" and "emit" in step.node.do)
        told = getattr(getattr(outcome, "error", None), "message", "")
        self._require(code == expected or bool(excused), f"{identity} ended with {code} {told}, not with {expected}")
        if isinstance(outcome, Succeeded):
            expected_values = self.expected[identity]
            right = outcome.body in expected_values
            self._require(right, f"{identity} computed {outcome.body!r}, it should be {expected_values}")

    def offered(self, inbox: Sequence[Settlement]) -> frozenset[Identity]:
        """A worker is about to settle these."""
        for item in inbox:
            self.offers.setdefault(_identity(item.leased), []).append(item.outcome)
        return frozenset(_identity(item.leased) for item in inbox)

    def answered(self, inbox: Sequence[Settlement], verdicts: Sequence[Verdict]) -> None:
        """The store has told a worker what became of what it offered."""
        self._require(len(inbox) == len(verdicts), f"{len(verdicts)} answers to {len(inbox)} settlements")
        for item, verdict in zip(inbox, verdicts):
            identity = _identity(item.leased)
            how = self.closed.get(identity, "still open")
            allowed = TAKEN if verdict is Verdict.LOST else SETTLED
            self._require(how in allowed, f"{identity} was answered {verdict.value}, but it is {how}")

    # What is stored.

    def commit(self, host: Host) -> None:
        """Judge what a transaction changed."""
        before = self.rows
        self.rows = {row[0]: Row(*row) for row in self.world.stage.rows(_STEPS)}
        self.queues.look()
        for key, run_id, status, events, *counts in self.world.stage.rows(_RUNS):
            run = self.runs.get(run_id)
            if run is None:
                run = self.runs[run_id] = self._new_run(host, key, run_id)
            if events != run.events:
                self._play_all(host, run, events, before)
            self._compare(run, status, counts)
        self._require(len(self.rows) == sum(len(run.steps) for run in self.runs.values()), "a step of no known run")
        if host.extending is not None:
            self._extended(host, before)

    def _new_run(self, host: Host, key: int, run_id: str) -> RunModel:
        asked = host.asked
        self._require(asked is not None and asked[:2] == ("start", run_id), f"run {run_id} was not asked for")
        return RunModel(run_id, key, asked[2])

    def _play_all(self, host: Host, run: RunModel, events: int, before: Mapping[int, Row]) -> None:
        self.moved_at = self.world.time
        host.was_done = host.was_done or (host.asked is not None and host.asked[1] == run.id)
        for first, count, at, worker, body in self.world.stage.rows(_HISTORY, run.key, run.events):
            entries = json.loads(body)
            self._require(first == run.events and count == len(entries), f"history of {run.id} has a gap at {first}")
            run.begin_commit()
            for name, places, epoch, *more in entries:
                self._note(f"{run.id}: {name} {places} {epoch or ''} by {host.name} at {at / SECOND % 100000:.3f}")
                known = more[0] if more else {}
                for problem in self._play(Commit(host, at, worker), run, (name, places, epoch, known), before):
                    self._fail(f"{run.id}: {name} {places} {epoch}: {problem}")
            run.events += len(entries)
        self._require(run.events == events, f"{run.id} counts {events} history entries, {run.events} are stored")

    def _play(self, commit: Commit, run: RunModel, entry: tuple[Any, ...], before: Mapping[int, Row]) -> Iterator[str]:
        name, places, epoch, more = entry
        if name == "steps_added":
            yield from self._added(run, list(places_of(places)), more)
        elif name in ("step_revived", "step_revived_waiting"):
            target = "ready" if name == "step_revived" else "pending"
            yield from run.revive(set(places_of(places)), target, commit.host.asked)
        elif name in ("run_canceling", "run_finished"):
            yield from (run.cancel(commit.host.asked) if name == "run_canceling" else run.finish(more["status"]))
        else:
            for place in places_of(places):
                step = run.steps.get(place)
                if step is None:
                    yield f"there is no step at place {place}"
                    return
                yield from self._move(commit, run, step, (name, epoch, more), before.get((run.key << 21) + place))

    def _move(
        self, commit: Commit, run: RunModel, step: StepModel, entry: tuple[Any, ...], before: Row | None
    ) -> Iterator[str]:
        name, epoch, more = entry
        if name == "step_promoted":
            yield from run.consequence(name, step, None, None)
            yield from self._is_due_at(run, step, commit.at + micros(step.node.delay), commit.at)
        elif name == "step_leased":
            yield from self._leased(commit, run, step, epoch, before)
        elif name in ("step_canceled", "step_repointed"):
            yield from run.consequence(name, step, more.get("reason"), commit.host.asked)
        else:
            if step.status != "running" or step.epoch != epoch:
                yield f"attempt {epoch} is closed, but the step is {step.status} with attempt {step.epoch}"
            identity = (run.id, step.node.id, epoch)
            if identity in self.closed:
                yield f"attempt {epoch} was closed before by {self.closed[identity]}"
            self.closed[identity] = name
            if name in ("step_reclaimed", "step_lost", "step_fenced"):
                yield from self._taken(commit, run, step, name, before)
            else:
                yield from self._settled(commit, run, step, (name, more.get("code")), before)

    def _added(self, run: RunModel, places: list[int], more: Mapping[str, Any]) -> Iterator[str]:
        graph, parent = run.graph, more.get("parent")
        if parent is not None:
            emitter = run.steps[parent]
            graph = emitter.node.do.get("emit", [])
            offers = self.offers.get((run.id, emitter.node.id, emitter.epoch), ())
            if emitter.status != "running" or not any(isinstance(offer, Succeeded) for offer in offers):
                yield f"{emitter.node.id} emits without having succeeded"
            run.emitted.add(parent)
        nodes = list(nodes_of(graph, run.twins))
        refused = run.refuses(nodes)
        if refused:
            yield f"this should have been refused with {refused}"
        rows = [self.rows.get((run.key << 21) + place) for place in places]
        told = [(node.id, node.kind, node.queue, node.max_attempts) for node in nodes]
        stored = [(row.id, row.kind, row.queue, row.max_attempts) for row in rows if row]
        if told != stored:
            yield f"{stored} were added, {told} were declared"
            return
        ready, dead = set(places_of(more.get("ready"))), set(places_of(more.get("canceled")))
        for place, node, row in zip(places, nodes, rows):
            assert row is not None
            born = "ready" if place in ready else "canceled" if place in dead else "pending"
            yield from run.add(place, node, parent, born, row.reason)

    def _leased(
        self, commit: Commit, run: RunModel, step: StepModel, epoch: int, before: Row | None
    ) -> Iterator[str]:
        if step.status != "ready" or epoch != step.epoch + 1:
            yield f"it is {step.status} with {step.epoch} leases before"
        if run.status not in ("pending", "running"):
            yield f"its run is {run.status}"
        if before is not None and before.delayed_until is not None and before.delayed_until > commit.at:
            yield f"it is due only in {(before.delayed_until - commit.at) / SECOND} s"
        if commit.host.is_older and step.node.kind != "sim/work":
            yield "this worker's code does not know its kind"
        step.status, step.epoch, step.attempt, step.worker = "running", epoch, step.attempt + 1, commit.worker
        run.status = "running"
        self._expect(run, step.node.id, epoch)
        yield from self.queues.start(step.node.queue, commit.at, self.rows.values())

    def _taken(
        self, commit: Commit, run: RunModel, step: StepModel, name: str, before: Row | None
    ) -> Iterator[str]:
        if name == "step_fenced":
            yield from run.fence(step, commit.host.asked)
            return
        yield from self._is_expired(commit, before)
        if (run.id, step.node.id, step.epoch) in commit.host.offering:
            yield "its outcome was offered in the same transaction, which settles first"
        if run.status != "running":
            yield f"its run is {run.status}"
        spent = step.attempt >= step.node.max_attempts
        if spent != (name == "step_lost"):
            yield f"attempt {step.attempt} of {step.node.max_attempts} was lost"
        step.status = "failed" if spent else "ready"
        if not spent:
            yield from self._is_due_at(run, step, commit.at + micros(step.node.backoff), commit.at)

    def _is_expired(self, commit: Commit, before: Row | None) -> Iterator[str]:
        if before is None or before.expires_at is None or before.expires_at > commit.at:
            yield f"its lease lasts until {before and before.expires_at}, it is {commit.at}"

    def _settled(
        self, commit: Commit, run: RunModel, step: StepModel, how: tuple[str, str | None], before: Row | None
    ) -> Iterator[str]:
        name, code = how
        offers = self.offers.get((run.id, step.node.id, step.epoch), [])
        if name == "step_discarded":
            if run.status != "canceling":
                yield f"its run is {run.status}"
            if not offers:
                yield from self._is_expired(commit, before)
            step.status, step.reason = "canceled", "run"
            return
        if run.status != "running":
            yield f"its run is {run.status}"
        if not any(self._explains(run, step, name, code, offer) for offer in offers):
            yield f"nobody offered that: {[type(offer).__name__ for offer in offers]} {code or ''}"
        if name == "step_succeeded":
            yield from self._success(run, step)
        elif name == "step_retried":
            step.status = "ready"
            delay = next((offer.delay for offer in offers if isinstance(offer, Retried)), 0)
            yield from self._is_due_at(run, step, commit.at + delay, commit.at)
        elif name == "step_released":
            step.status, step.attempt = "ready", step.attempt - 1
        else:
            step.status = "failed"

    def _explains(self, run: RunModel, step: StepModel, name: str, code: str | None, offer: Outcome) -> bool:
        spent = step.attempt >= step.node.max_attempts
        if name == "step_succeeded":
            return isinstance(offer, Succeeded)
        if name == "step_released":
            return isinstance(offer, Released)
        if name == "step_retried":
            return isinstance(offer, Retried) and not spent and code == offer.error.code
        if isinstance(offer, Retried):
            return spent and code in (offer.error.code, "unsettleable")
        if isinstance(offer, Failed):
            return code in (offer.error.code, "unsettleable")
        if code == "unsettleable":
            return self.world.faults.injected["statement"] > 0
        return code is not None and code == run.refuses(list(nodes_of(step.node.do.get("emit", []), run.twins)))

    def _success(self, run: RunModel, step: StepModel) -> Iterator[str]:
        if "emit" in step.node.do and step.place not in run.emitted:
            missing = [node.id for node in nodes_of(step.node.do["emit"], run.twins)]
            if missing:
                yield f"its children {missing} are not there"
        stored = self.world.stage.rows(
            "SELECT epoch, generation, attempt, body FROM results WHERE step = ?", (run.key << 21) + step.place
        )
        wanted = (step.epoch, step.generation, step.attempt)
        bodies = self.expected[run.id, step.node.id, step.epoch]
        if [row[:3] for row in stored] != [wanted] or bytes(stored[0][3]) not in bodies:
            yield f"its result is stored as {stored}, expected {wanted} {bodies}"
            return
        step.status, step.value = "succeeded", json.loads(stored[0][3])

    def _is_due_at(self, run: RunModel, step: StepModel, at: Micros, now: Micros) -> Iterator[str]:
        row = self.rows[(run.key << 21) + step.place]
        if row.status == "ready" and row.delayed_until != (at if at > now else None):
            yield f"it is due at {row.delayed_until}, not at {at}"
        if row.status == "running" and at > now:
            yield f"it was leased at once, though it is due only in {(at - now) / SECOND} s"

    def _compare(self, run: RunModel, status: str, counts: Sequence[int]) -> None:
        for step in run.steps.values():
            row = self.rows.get((run.key << 21) + step.place)
            stored = row and (row.status, row.reason, row.generation, row.attempt, row.epoch, row.worker)
            told = (step.status, step.reason, step.generation, step.attempt, step.epoch)
            told = (*told, step.worker if step.status == "running" else None)
            self._require(stored == told, f"{run.id}/{step.node.id} is stored as {stored}, it should be {told}")
        for problem in run.problems():
            self._fail(f"{run.id}: {problem}")
        self._require(status == run.status, f"{run.id} is {status}, it should be {run.status}")
        told_counts = run.counts()
        self._require(tuple(counts) == told_counts, f"{run.id} counts {counts}, its steps give {told_counts}")

    # Heartbeats.

    def _extended(self, host: Host, before: Mapping[int, Row]) -> None:
        assert host.extending is not None
        kept = {}
        own = {(attempt.leased.key, attempt.leased.lease.epoch) for attempt in host.extending}
        for key, row in self.rows.items():
            if row != before.get(key) and (key, row.epoch) not in own:
                self._fail(f"{host.name} extended its leases, and {before.get(key)} became {row}")
        for attempt in host.extending:
            if attempt.settled:
                continue
            leased = attempt.leased
            row = self.rows.get(leased.key)
            held = row is not None and row.status == "running" and row.epoch == leased.lease.epoch
            kept[_identity(leased)] = self.runs[leased.run_id].status if held else None
            if held and row.expires_at != host.clock.now() + LEASE:
                self._fail(f"{_identity(leased)} was extended until {row.expires_at}, now is {host.clock.now()}")
        host.kept = kept

    def kept(self, held: Sequence[Attempt], kept: Mapping[Identity, str | None]) -> None:
        """A worker has extended its leases and knows which it still has."""
        for attempt in held:
            if attempt.settled:
                continue
            status, reason = kept[_identity(attempt.leased)], attempt.stop_reason
            if status is None and reason is None:
                self._fail(f"{_identity(attempt.leased)} was not told that its lease is lost")
            if status == "canceling" and reason is None:
                self._fail(f"{_identity(attempt.leased)} was not told that its run is canceled")

    # The end.

    def is_at_rest(self) -> bool:
        """Whether every run has ended."""
        return all(run.status in ENDED for run in self.runs.values())

    def open_steps(self) -> list[str]:
        """Name what has not ended."""
        return [
            f"{run.id}/{step.node.id} is {step.status}"
            for run in self.runs.values()
            for step in run.steps.values()
            if step.status not in ENDED
        ]

    def expect_progress(self, now: Micros) -> None:
        """Fail if nothing has moved for longer than anything can take, though nothing goes wrong any more."""
        silence = now - max(self.moved_at, self.calm_since)
        if self.clocks_agree and not self.is_at_rest() and silence > micros(LONGEST_SILENCE):
            self._fail(f"nothing has moved for {LONGEST_SILENCE:.0f} s: {self.open_steps()}")

    def _find(self, run_id: str, step_id: str) -> StepModel | None:
        run = self.runs.get(run_id)
        return run.by_id.get(step_id) if run else None

    def _note(self, text: str) -> None:
        self.world.trace.append(f"{self.world.time / SECOND:10.3f}         {text}")

    def _require(self, holds: bool, text: str) -> None:
        if not holds:
            self._fail(text)

    def _fail(self, text: str) -> None:
        self.world.fail(text)


def places_of(places: Any) -> Iterator[int]:
    """Yield the places that a history entry is about."""
    if isinstance(places, int):
        yield places
    else:
        for low, high in places or ():
            yield from range(low, high + 1)


def code_of(outcome: Outcome) -> str | None:
    """Return an outcome's error code; None for success."""
    if isinstance(outcome, (Failed, Retried)):
        return outcome.error.code
    return "released" if isinstance(outcome, Released) else None


def _identity(leased: LeasedStep) -> Identity:
    return leased.run_id, leased.id, leased.lease.epoch


__all__ = ["DEAD", "Judge", "code_of"]
