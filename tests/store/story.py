"""What stories about a store are told with: plans with gates, a store under guard, and how things stand in it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flowkit.clock import Micros
from flowkit.model.limits import QueueConfig, RateLimit
from flowkit.model.plan import Edge, Plan, StepSpec
from flowkit.model.retry import Retry
from flowkit.model.states import RunStatus
from flowkit.store.check import check, install_guard
from flowkit.store.engine import Engine
from tests.places import Place, open_engine
from tests.store.clock import FakeClock
from tests.store.flow import Flow, step

ONCE = Retry(1)
TWICE = Retry(2, backoff="fixed", initial=10, maximum=10)


@contextmanager
def guarded(engine: Engine) -> Iterator[None]:
    """Let the database refuse illegal moves meanwhile, and find the store sound in the end."""
    with engine.write() as tx:
        install_guard(tx)
    yield
    with engine.read() as tx:
        assert check(tx) == []


def second_host(place: Place, clock: FakeClock) -> Flow:
    """Open the store that the ``engine`` fixture made once more, as another process would."""
    flow = Flow(open_engine(place, clock), clock)
    flow._tokens = itertools.count(1_000_000)
    return flow


def group(members: Sequence[str], waiters: Sequence[str], *, required: bool = True, **options: Any) -> Plan:
    """Make a plan in which every waiter waits for all members, through one gate."""
    steps = [step(id, **options) for id in (*members, *waiters)]
    gate = len(steps)
    into = [Edge(gate, place) for place in range(len(members))]
    out = [Edge(len(members) + place, gate, required) for place in range(len(waiters))]
    return Plan(tuple(steps), ("group",), (*into, *out))


def optionally(plan: Plan) -> Plan:
    """Make every edge between steps of a plan an optional one."""
    return Plan(plan.specs, plan.gates, tuple(Edge(edge.waiter, edge.target, False) for edge in plan.edges))


def once(*ids: str, **options: Any) -> list[StepSpec]:
    """Make steps that are attempted once."""
    return [step(id, retry=ONCE, **options) for id in ids]


def steps_of(flow: Flow, run_id: str) -> dict[str, str]:
    """Return each step's status, and why it was canceled where it was: ``{"a": "canceled (dependency:b)"}``."""
    sql = "SELECT id, status || COALESCE(' (' || reason || ')', '') FROM steps WHERE run = ? ORDER BY key"
    with flow.engine.read() as tx:
        return dict(tx.script(sql, (flow.key(run_id),)))


def status_of(flow: Flow, run_id: str) -> RunStatus:
    """Return a run's status."""
    with flow.engine.read() as tx:
        run = flow.engine.runs.find(tx, run_id)
    assert run is not None
    return run.status


def column_of(flow: Flow, run_id: str, step_id: str, column: str) -> Any:
    """Return one column of a step."""
    with flow.engine.read() as tx:
        rows = tx.script(f"SELECT {column} FROM steps WHERE run = ? AND id = ?", (flow.key(run_id), step_id))
    return rows[0][0]


def attempts_of(flow: Flow, run_id: str, step_id: str) -> list[tuple[int, int, str]]:
    """Return generation, number and outcome of each attempt that closed without committing the step."""
    sql = """SELECT a.generation, a.attempt, a.outcome FROM attempts a JOIN steps s ON s.key = a.step
        WHERE s.run = ? AND s.id = ? ORDER BY a.epoch"""
    with flow.engine.read() as tx:
        return tx.script(sql, (flow.key(run_id), step_id))


def error_of(flow: Flow, run_id: str, step_id: str) -> str:
    """Return the code of the newest error of a step."""
    sql = """SELECT a.error FROM attempts a JOIN steps s ON s.key = a.step
        WHERE s.run = ? AND s.id = ? ORDER BY a.epoch DESC LIMIT 1"""
    with flow.engine.read() as tx:
        return str(json.loads(tx.script(sql, (flow.key(run_id), step_id))[0][0])["code"])


def result_of(flow: Flow, run_id: str, step_id: str) -> bytes:
    """Return a step's stored result."""
    sql = "SELECT r.body FROM results r JOIN steps s ON s.key = r.step WHERE s.run = ? AND s.id = ?"
    with flow.engine.read() as tx:
        return bytes(tx.script(sql, (flow.key(run_id), step_id))[0][0])


def history_of(flow: Flow, run_id: str) -> list[str]:
    """Return the names of a run's history entries."""
    with flow.engine.read() as tx:
        return [event.name for event in flow.engine.history.read(tx, flow.key(run_id))]


def seconds_until(flow: Flow, at: Micros) -> float:
    """Return how far away an instant is on the engine's clock."""
    return (at - flow.clock.now()) / 1_000_000


def limit(flow: Flow, max_workers: int | None = None, rate: RateLimit | None = None) -> dict[str, QueueConfig]:
    """Limit the default queue."""
    config = QueueConfig(max_workers, rate)
    with flow.engine.write() as tx:
        flow.engine.queues.configure(tx, "default", config, by="test", now=tx.now())
    return {"default": config}
