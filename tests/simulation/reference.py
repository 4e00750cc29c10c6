"""The reference interpreter: what a told graph comes to, by nothing but its text; no code of the engine is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from tests.simulation.app import CODES, checksum


@attrs.frozen
class Wait:
    """What a step waits for: until these have succeeded, or ended; and the parameter their results go to."""

    targets: tuple[str, ...]
    required: bool
    bound: str | None = None


@attrs.frozen
class Node:
    """A step as the text says it should be."""

    id: str
    kind: str
    queue: str
    do: Mapping[str, Any]
    waits: tuple[Wait, ...]
    max_attempts: int
    backoff: float
    delay: float
    allow_failure: bool
    dedup: str | None


def nodes_of(graph: list[dict[str, Any]], twins: Mapping[tuple[str, str], str]) -> Iterator[Node]:
    """Yield the new steps of a graph; *twins* are the steps that stand already, by kind and dedup key."""
    names: dict[str, tuple[str, ...]] = {}
    own: dict[str, tuple[Wait, ...]] = {}
    groups: set[str] = set()
    seen = dict(twins)
    for told in graph:
        waits = tuple(_waits(told, names, own, groups))
        group = "count" in told
        ids = tuple(f"{told['id']}[{place}]" for place in range(told["count"])) if group else (told["id"],)
        twin = seen.get((told["kind"], told["dedup"])) if "dedup" in told else None
        names[told["id"]] = ids if twin is None else (twin,)
        groups |= {told["id"]} if group else set()
        if group and not ids:
            own[told["id"]] = waits
        if twin is not None:
            continue
        if "dedup" in told:
            seen[told["kind"], told["dedup"]] = told["id"]
        attempts, backoff = told["retry"]
        policy = (attempts, backoff, told.get("delay", 0), told.get("allow_failure", False), told.get("dedup"))
        yield from (Node(id, told["kind"], told["queue"], told["do"], waits, *policy) for id in ids)


def _waits(
    told: dict[str, Any], names: dict[str, tuple[str, ...]], own: dict[str, tuple[Wait, ...]], groups: set[str]
) -> Iterator[Wait]:
    for name, how in told["waits"]:
        # Waiting for an empty group is waiting for what that itself waits for.
        yield from (attrs.evolve(wait, bound=None) for wait in own.get(name, ()))
        bound = ("many" if name in groups else "one") if how.startswith("bind") else None
        yield Wait(names.get(name, (name,)), not how.endswith("optional"), bound)


def ending(node: Node, generation: int, attempt: int) -> str | None:
    """Return the error code that an undisturbed attempt ends with, None for success."""
    if attempt <= node.do.get("flaky", 0):
        return "flaky"
    if generation < node.do.get("fatal", 0):
        return "fatal"
    return CODES[node.do["rubbish"]] if not generation and "rubbish" in node.do else None


def value_of(run_id: str, node: Node, result_of: Callable[[str], Any]) -> int:
    """Return the result of a step, given how to find those of others: None where there is none."""
    bound: dict[str, Any] = {"one": None, "many": ()}
    for wait in node.waits:
        if wait.bound == "one":
            bound["one"] = result_of(wait.targets[0])
        elif wait.bound == "many":
            bound["many"] = [result_of(target) for target in wait.targets]
    return checksum(run_id, node.id, node.do["salt"], bound["one"], bound["many"])
