"""What an attempt may use of its Runtime, in this process or in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from flowkit.artifacts import ArtifactStore
from flowkit.clock import Micros
from flowkit.dsl.builder import EmitBuilder
from flowkit.dsl.declarations import Encode
from flowkit.dsl.kinds import Registry
from flowkit.model.run import Run
from flowkit.model.step import Step, StepResult
from flowkit.projections import ProjectionStore
from flowkit.runtime.instruments import Instruments
from flowkit.runtime.misfits import coded


@attrs.frozen
class Services:
    """What an attempt may use of its Runtime; in another process, of what stands in for it there.

    Attributes:
        read_run, read_step, read_result: what is stored about this run now.
        builder: makes the builder of the steps that the attempt emits, from the step's id.
        logger: makes the logger bound to what is given.
        instruments: who is let in around attempts, if anybody wants to.
    """

    now: Callable[[], Micros]
    read_run: Callable[[str], Run]
    read_step: Callable[[str, str], Step]
    read_result: Callable[[str, str], StepResult | None]
    decode: Callable[..., Any]
    builder: Callable[[str], EmitBuilder]
    logger: Callable[..., Any]
    artifacts: Callable[[], ArtifactStore]
    projections: Callable[[], ProjectionStore]
    instruments: Instruments | None = None


def emitting(registry: Registry, encode: Encode) -> Callable[[str], EmitBuilder]:
    """Return what makes the builder of a step's children; an input that does not fit makes the graph a bad one."""
    return lambda step_id: EmitBuilder(parent_id=step_id, registry=registry, encode=coded("graph_error", encode))
