"""Node keys: a step's or gate's key is its run's key times 2**21 plus its place in the run.

So the steps of a run lie side by side, in declaration order, and the run's own row hands out new keys.
"""

from __future__ import annotations

from typing import Any

from peewee import Expression

NODE_BITS = 21
MAX_NODES = 1 << NODE_BITS


def first_key(run: int) -> int:
    """Return the lowest node key of a run."""
    return run << NODE_BITS


def last_key(run: int) -> int:
    """Return the highest node key that a run can have."""
    return (run << NODE_BITS) + MAX_NODES - 1


def run_of(node: int) -> int:
    """Return the key of the run that a node belongs to."""
    return node >> NODE_BITS


def run_of_node(node: Any) -> Any:
    """Return ``run_of`` for a column, as an expression."""
    return Expression(node, ">>", NODE_BITS)


def place_of(node: int) -> int:
    """Return a node's place in its run."""
    return node & (MAX_NODES - 1)
