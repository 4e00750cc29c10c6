"""The client: starts runs and operates on them through the public Runtime, and keeps a journal of every call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from flowkit import InvalidTransition, QueueConfig, RateLimit, RunConflict, RunNotFound, StepNotFound
from flowkit.errors import StoreError
from tests.simulation.story import QUEUES, Graph, Teller

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.world import Life, World


@attrs.define
class Call:
    """A line of the journal: what was called, and how it ended; ``unknown`` until it is known."""

    name: str
    arguments: tuple[Any, ...]
    at: float
    ending: str = "unknown"


class Client:
    """Plays a script; a call that fails is made again, and a client that crashed goes on with the rest."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host
        draw = world.choices.of("story")
        rate = RateLimit(draw.choice((0.2, 0.5, 1.0)), draw.choice((1, 2, 3)))
        self.limits = {"narrow": QueueConfig(draw.choice((1, 2))), "rated": QueueConfig(None, rate)}
        self.graphs: dict[str, Graph] = {}
        self.journal: list[Call] = []
        count = draw.choice((1, 2, 2, 3))
        most = world.choices.cuts.runs
        for number in range(1, count + 1):
            graph = Teller(draw, world.faults.has("executor")).graph()
            if most is None or number <= most:
                self.graphs[f"run-{number}"] = graph
        self._script = self._write_script()
        self._resumed = False

    def _write_script(self) -> list[tuple[float, tuple[Any, ...]]]:
        draw = self._world.choices.of("script")
        script: list[tuple[float, tuple[Any, ...]]] = []
        for run_id, graph in self.graphs.items():
            at = draw.uniform(0, 25)
            script.append((at, ("start", run_id, graph)))
            if draw.random() < 0.3:
                script.append((at + draw.uniform(0, 60), ("start", run_id, graph)))
            if draw.random() < 0.3:
                script.append((max(0.0, at - draw.uniform(0, 20)), ("start in a worker", run_id, graph)))
            if draw.random() < 0.1:
                script.append((at + draw.uniform(0, 60), ("start", run_id, [*graph, {**graph[0], "id": "other"}])))
        count = draw.choice((4, 8, 16)) if self._world.faults.has("operator") else 0
        script += [(draw.uniform(5, 170), ("operate",)) for _ in range(count)]
        return sorted(script, key=lambda line: line[0])

    @property
    def is_done(self) -> bool:
        """Whether the script was played to its end."""
        return not self._script and self._resumed

    def begin(self) -> None:
        """Play on from where the last process of the client was."""
        self._host.asked = None
        self._world.spawn(self._host, self._play(), 0.1)

    def _play(self) -> Life:
        while self._script:
            at, wish = self._script[0]
            now = self._world.time / 1e6
            if at > now:
                yield max(at - now, 0.001)
                continue
            self._script.pop(0)
            if wish[0] == "start in a worker":
                host = self._world.choices.of("wishes").choice(self._world.workers)
                if host.is_up:
                    self._world.spawn(host, self._do(("start", *wish[1:]), host))
                continue
            yield from self._do(wish if wish != ("operate",) else self._draw_wish())
        while self._world.faults.on:
            yield 5.0
        for queue in QUEUES:
            yield from self._do(("resume", queue))
        self._resumed = True

    def _draw_wish(self) -> tuple[Any, ...]:
        draw = self._world.choices.of("wishes")
        runs = list(self._world.judge.runs.values())
        sort = draw.choices(("cancel", "retry", "retry_run", "pause", "resume", "read"), (3, 8, 3, 2, 2, 6))[0]
        if sort in ("pause", "resume"):
            return sort, draw.choice(QUEUES)
        if not runs:
            return "resume", "default"
        run = draw.choice(runs)
        if sort == "read":
            return sort, run.id, draw.choice(list(run.by_id))
        if sort != "retry":
            return sort, run.id
        # Mostly what can be retried, or forced: wild guesses would nearly all be refused.
        dead = [s.node.id for s in run.steps.values() if s.status in ("failed", "canceled")]
        running = [s.node.id for s in run.steps.values() if s.status == "running"]
        liked = draw.choice((dead or running, running or dead, [s.node.id for s in run.steps.values()]))
        return "retry", run.id, draw.choice(liked or list(run.by_id)), draw.random() < 0.5

    def _do(self, wish: tuple[Any, ...], where: Host | None = None) -> Life:
        host = where or self._host
        for _ in range(6):
            call = Call(wish[0], wish[1:], self._world.time / 1e6)
            self._world.faults.injected["operator"] += wish[0] not in ("start", "read") and self._world.faults.on
            self.journal.append(call)
            host.asked, host.was_done = wish, False
            try:
                self._call(host, wish)
                call.ending = "ok"
                self._judge(host, wish, refused=False)
            except (InvalidTransition, RunConflict, RunNotFound, StepNotFound) as refused:
                call.ending = type(refused).__name__
                self._judge(host, wish, refused=True)
            except StoreError as error:
                # It may have been done or not; whoever asked asks again, as one would.
                call.ending = f"unknown: {type(error).__name__}"
                yield host.draw.uniform(0.1, 8)
                continue
            finally:
                self._world.note(host, f"{wish[0]} {wish[1:3] if wish[0] != 'start' else wish[1]}: {call.ending}")
                host.asked = None
            return

    def _call(self, host: Host, wish: tuple[Any, ...]) -> None:
        runtime, name = host.runtime, wish[0]
        if name == "start":
            handle = runtime.start_run("sim", {"graph": wish[2]}, run_id=wish[1])
            assert handle.created in (True, False)
        elif name == "cancel":
            runtime.cancel_run(wish[1])
        elif name == "retry":
            runtime.retry_step(wish[1], wish[2], force=wish[3])
        elif name == "retry_run":
            runtime.retry_run(wish[1])
        elif name == "pause":
            runtime.pause_queue(wish[1])
        elif name == "resume":
            runtime.resume_queue(wish[1])
        else:
            self._read(host, *wish[1:])

    def _read(self, host: Host, run_id: str, step_id: str) -> None:
        """Read as a program would; others may write between any two statements of it."""
        runtime = host.runtime
        result = runtime.result(run_id, step_id)
        step = self._world.judge.runs[run_id].by_id[step_id]
        if result is not None and result.status == "succeeded":
            numbers = {record.data["number"] for record in result.records}
            if result.data != step.value or numbers != set(range(step.node.do.get("records", 0))):
                self._world.fail(f"{run_id}/{step_id} reads as {result}, its value is {step.value}")
        run, said = runtime.workflow(run_id), runtime.explain(run_id, step_id)
        attempts, events = runtime.attempts(run_id, step_id), list(runtime.history(run_id))
        told = [one.epoch for one in attempts] == sorted({one.epoch for one in attempts}) and said.step_id == step_id
        if run is None or not told or [event.seq for event in events] != list(range(len(events))):
            self._world.fail(f"{run_id}/{step_id} reads as {run}, {said}, {attempts}, {events}")

    def _judge(self, host: Host, wish: tuple[Any, ...], *, refused: bool) -> None:
        """Compare what the caller was told with what the model says of it."""
        judge, name = self._world.judge, wish[0]
        if name in ("pause", "resume"):
            if judge.queues.is_paused(wish[1]) != (name == "pause"):
                self._world.fail(f"{wish} was acknowledged, and the queue is not so")
            return
        run = judge.runs.get(wish[1])
        if name == "start":
            same = run is not None and run.graph == wish[2]
            if same == refused:
                self._world.fail(f"start of {wish[1]} was {'refused' if refused else 'acknowledged'} wrongly")
        elif name != "read" and run is not None and (refused or not host.was_done):
            answer = run.would(wish)[0]
            if answer != ("refused" if refused else "nothing"):
                told = "refused" if refused else "acknowledged without being done"
                self._world.fail(f"{wish} was {told}; by the model it is: {answer}")
