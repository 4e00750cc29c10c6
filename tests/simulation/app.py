"""The workflow of the simulation: a package, and executors that do what their input says."""

from __future__ import annotations

import zlib
from typing import Any

from flowkit import Permanent, Retryable, RunBuilder, StepContext, executor, optional, package
from flowkit.model.retry import Retry

POOL = "world"


def checksum(run_id: str, step_id: str, salt: int, one: Any, many: Any) -> int:
    """Return a number that is right only if everything below a step is right."""
    return zlib.crc32(f"{run_id}|{step_id}|{salt}|{one}|{list(many)}".encode())


def stored_bytes(run_id: str, step_id: str) -> bytes:
    """Return the bytes that a step keeps in the artifact store."""
    return f"bytes of {run_id}/{step_id}".encode()


def lay_out(into: Any, graph: list[dict[str, Any]], *, emits: bool = False) -> None:
    """Declare a told graph with a builder or, emitting, with a step's context."""
    handles: dict[str, Any] = {}
    for node in graph:
        options = options_of(node)
        after = []
        for name, how in node["waits"]:
            target = handles.get(name, name)
            is_group = not isinstance(target, str) and not hasattr(target, "_number")
            wished = optional(target) if how.endswith("optional") else target
            if how.startswith("bind"):
                options["many" if is_group else "one"] = wished
            else:
                after.append(wished)
        if after:
            options["after"] = after
        if "count" in node:
            inputs = [node["do"]] * node["count"]
            handles[node["id"]] = into.map(node["id"], node["kind"], inputs, **options)
        else:
            declare = into.emit if emits else into.step
            handles[node["id"]] = declare(node["id"], node["kind"], node["do"], **options)


def options_of(node: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a told step."""
    attempts, seconds = node["retry"]
    options: dict[str, Any] = {
        "queue": node["queue"],
        "priority": node["priority"],
        "retry": Retry(attempts, backoff="fixed", initial=seconds, maximum=seconds),
    }
    names = (("allow_failure", "allow_failure"), ("delay", "delay"), ("timeout", "timeout"), ("dedup", "dedup_key"))
    return options | {option: node[name] for name, option in names if name in node}


@package("sim")
def sim(run: RunBuilder, input: dict[str, Any]) -> None:
    lay_out(run, input["graph"])


@executor("sim/work", pool=POOL)
def work(step: StepContext, input: dict[str, Any], *, one: int | None = None, many: list[int | None] = []) -> Any:  # noqa: B006
    return perform(step, input, one, many)


@executor("sim/newer", pool=POOL)
def newer(step: StepContext, input: dict[str, Any], *, one: int | None = None, many: list[int | None] = []) -> Any:  # noqa: B006
    return perform(step, input, one, many)


def perform(step: StepContext, do: dict[str, Any], one: Any, many: Any) -> Any:
    """Do what the input says, and fail as it says."""
    if not do.get("deaf"):
        step.raise_if_canceled()
    generation = int(step.idempotency_key.rsplit("/", 1)[1])
    if step.attempt <= do.get("flaky", 0):
        raise Retryable("flaky", "not yet")
    if generation < do.get("fatal", 0):
        raise Permanent("fatal", "not in this generation")
    hand_over(step, do)
    value = checksum(step.run_id, step.step_id, do["salt"], one, many)
    if not generation and "rubbish" in do:
        return rubbish(step, do["rubbish"], value)
    return value


def hand_over(step: StepContext, do: dict[str, Any]) -> None:
    """Leave records, artifacts and children, and read what was left before."""
    for name in do.get("reads", ()):
        assert step.dependency_result(name).status == "succeeded"
    for number in range(do.get("records", 0)):
        step.record("marks", f"{number}", {"epoch": step.lease.epoch, "number": number})
    if do.get("inline"):
        step.artifact("note", f"{step.run_id}/{step.step_id}/{step.lease.epoch}")
    if do.get("stored"):
        step.store_artifact("file", stored_bytes(step.run_id, step.step_id))
    if "emit" in do:
        lay_out(step, do["emit"], emits=True)


def rubbish(step: StepContext, sort: str, value: int) -> Any:
    """End an attempt as no attempt should."""
    if sort == "nan":
        return float("nan")
    if sort == "twice":
        step.result(value)
        return value
    if sort == "exit":
        raise SystemExit(3)
    if sort == "key":
        return {1: value}
    raise ZeroDivisionError("a bug")


CODES = {
    "nan": "invalid_result",
    "twice": "result_set_twice",
    "bug": "executor_error",
    "exit": "executor_error",
    "key": "invalid_result",
}
"""What each sort of rubbish fails with."""
