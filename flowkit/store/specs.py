"""How a step's policy and bindings are written in its row, and read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import attrs

from flowkit.model.plan import DEFAULT_RETRY, Binding, nodes_of
from flowkit.model.retry import Retry


def retry_to_text(retry: Retry) -> str | None:
    """Write a policy as JSON; None for the default one."""
    return None if retry is DEFAULT_RETRY or retry == DEFAULT_RETRY else _policy_text(retry)


@lru_cache(maxsize=256)
def _policy_text(retry: Retry) -> str:
    return json.dumps(attrs.asdict(retry))


@lru_cache(maxsize=256)
def retry_from(text: str | None) -> Retry:
    """Read a policy back."""
    if text is None:
        return DEFAULT_RETRY
    stored: dict[str, Any] = json.loads(text)
    return Retry(**{**stored, "on": tuple(stored["on"])})


def bindings_to_text(bindings: Iterable[tuple[Binding, list[tuple[int, int]]]]) -> str | None:
    """Write bindings with the places of their steps in the run, as spans."""
    rows = [[b.name, spans, int(b.many), int(b.optional)] for b, spans in bindings]
    return json.dumps(rows) if rows else None


def bindings_from(text: str | None) -> tuple[Binding, ...]:
    """Read bindings back; their spans are places in the run."""
    if text is None:
        return ()
    return tuple(
        Binding(name, tuple((low, high) for low, high in spans), bool(many), bool(optional))
        for name, spans, many, optional in json.loads(text)
    )


def places_in(bindings: Iterable[Binding]) -> Iterator[int]:
    """Yield the places of the steps whose results are bound."""
    for binding in bindings:
        for node in nodes_of(binding.spans):
            if isinstance(node, int):
                yield node
