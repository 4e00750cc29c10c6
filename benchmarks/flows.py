"""The workflows that are measured: no-op steps with typed inputs and results."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from attrs import frozen

from flowkit import RunBuilder, Runtime, SQLiteStore, StepContext, StepHandle, executor, package


@frozen
class Number:
    n: int


@frozen
class Shape:
    width: int
    depth: int = 0


@executor("bench/noop")
def noop(step: StepContext, input: Number) -> Number:
    return Number(input.n)


@executor("bench/async")
async def async_noop(step: StepContext, input: Number) -> Number:
    return Number(input.n)


@executor("bench/join")
def join(step: StepContext, *, parts: list[Number]) -> Number:
    return Number(sum(part.n for part in parts))


@executor("bench/millisecond")
def millisecond(step: StepContext, input: Number) -> Number:
    time.sleep(0.001)
    return Number(input.n)


@executor("bench/second")
async def second(step: StepContext, input: Number) -> Number:
    await asyncio.sleep(1)
    return Number(input.n)


@executor("bench/tree")
def tree(step: StepContext, input: Shape) -> Number:
    """Emit *width* children down to *depth*."""
    if input.depth:
        step.map(f"{step.step_id}.", tree, [Shape(input.width, input.depth - 1)] * input.width)
    return Number(input.depth)


@executor("bench/burn", pool="process")
def burn(step: StepContext, input: Number) -> Number:
    total = 0
    for value in range(input.n):
        total += value * value
    return Number(total)


@package("bench/fan-out")
def fan_out(run: RunBuilder, input: Number) -> None:
    run.map("part", noop, [Number(n) for n in range(input.n)])


@package("bench/fan-out-async")
def fan_out_async(run: RunBuilder, input: Number) -> None:
    run.map("part", async_noop, [Number(n) for n in range(input.n)])


@package("bench/chain")
def chained(run: RunBuilder, input: Number) -> None:
    before: StepHandle[Number] | None = None
    for n in range(input.n):
        before = run.step(f"link{n}", noop, Number(n), after=before)


@package("bench/diamond")
def diamond(run: RunBuilder, input: Number) -> StepHandle[Number]:
    top = run.step("top", noop, Number(0))
    parts = run.map("part", noop, [Number(n) for n in range(input.n)], after=top)
    return run.step("join", join, parts=parts)


@package("bench/dynamic")
def dynamic(run: RunBuilder, input: Shape) -> None:
    run.step("root", tree, input)


@package("bench/map-to-map")
def map_to_map(run: RunBuilder, input: Number) -> None:
    first = run.map("first", noop, [Number(n) for n in range(input.n)])
    run.map("second", noop, [Number(n) for n in range(input.n)], after=first)


@package("bench/one")
def one(run: RunBuilder, input: Number) -> StepHandle[Number]:
    return run.step("only", noop, input)


@package("bench/slow")
def slow(run: RunBuilder, input: Number) -> None:
    run.map("part", millisecond, [Number(n) for n in range(input.n)])


@package("bench/waiting")
def waiting(run: RunBuilder, input: Number) -> None:
    run.map("part", second, [Number(n) for n in range(input.n)])


@package("bench/burning")
def burning(run: RunBuilder, input: Shape) -> None:
    run.map("part", burn, [Number(input.depth)] * input.width)


def open_runtime(place: Path, *, max_workers: int = 64, name: str = "flowkit.db") -> Runtime:
    """Open a Runtime with default durability on a file in *place*."""
    return Runtime(SQLiteStore(place / name), modules=["benchmarks.flows"], entry_points=False, max_workers=max_workers)


def drained(rt: Runtime) -> float:
    """Run workers in this process until every open run has ended; return how long that took."""
    handles = [rt.handle(run.id) for run in rt.runs(status=["pending", "running"], limit=10_000)]
    started = time.perf_counter()
    with rt.workers():
        for handle in handles:
            handle.wait()
        return time.perf_counter() - started
