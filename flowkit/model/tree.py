"""The steps of a run as a tree: what a step emitted stands below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowkit.model.step import Step


def tree(steps: Sequence[Step]) -> Iterator[tuple[str, Step]]:
    """Yield steps, each after the one that emitted it, with the branch that leads to it."""
    shown = {step.id for step in steps}
    children: dict[str | None, list[Step]] = {}
    for step in steps:
        children.setdefault(step.parent_id if step.parent_id in shown else None, []).append(step)
    # No recursion: a step may have emitted one that emitted one, a thousand times.
    waiting = [("", "", step) for step in reversed(children.get(None, []))]
    while waiting:
        branch, below, step = waiting.pop()
        yield branch, step
        emitted = children.get(step.id, [])
        last = len(emitted) - 1
        laid = [
            (below + ("└─ " if place == last else "├─ "), below + ("   " if place == last else "│  "), child)
            for place, child in enumerate(emitted)
        ]
        waiting += reversed(laid)
