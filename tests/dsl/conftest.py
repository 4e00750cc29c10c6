"""What the tests of the graph language share: a registry of some executors, and JSON by the standard library."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import pytest

from flowkit.dsl.builder import EmitBuilder, RunBuilder
from flowkit.dsl.decorators import definitions_of
from flowkit.dsl.kinds import RemoteKind
from flowkit.errors import InvalidInput
from flowkit.model.definitions import ExecutorDef


@attrs.frozen
class Registered:
    """Knows the executors it was given, and what a catalog would tell of other workers' kinds."""

    executors: dict[str, ExecutorDef]
    remote: dict[str, RemoteKind]

    def find_executor(self, kind: str) -> ExecutorDef | None:
        return self.executors.get(kind)

    def find_remote(self, kind: str) -> RemoteKind | None:
        return self.remote.get(kind)

    def known_kinds(self) -> Iterable[str]:
        return [*self.executors, *self.remote]


def registered(functions: Iterable[Any], remote: Iterable[RemoteKind]) -> Registered:
    definitions = [one for function in functions for one in definitions_of(function)]
    return Registered({one.kind: one for one in definitions}, {one.kind: one for one in remote})


def to_json(value: Any, annotation: Any, where: str) -> bytes:
    try:
        return json.dumps(attrs.asdict(value) if attrs.has(type(value)) else value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{where} $: {error}") from error


@pytest.fixture
def run_of() -> Callable[..., RunBuilder]:
    """Give a builder for a run of package ``book`` in which some executors are registered."""

    def build(*functions: Any, remote: Iterable[RemoteKind] = (), queue: str | None = None) -> RunBuilder:
        return RunBuilder(
            run_id="run-1",
            registry=registered(functions, remote),
            encode=to_json,
            default_queue=queue,
            package="book",
        )

    return build


@pytest.fixture
def emit_of() -> Callable[..., EmitBuilder]:
    """Give a builder for what step ``parent`` emits."""

    def build(*functions: Any, remote: Iterable[RemoteKind] = ()) -> EmitBuilder:
        return EmitBuilder(parent_id="parent", registry=registered(functions, remote), encode=to_json)

    return build
